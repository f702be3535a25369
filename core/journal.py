"""The journal: every job and its state, in one SQLite file. The only state threads share.

Every move is one compare-and-set, so a late or repeated step changes nothing (the states and
their arrows are in :mod:`core.job`). ``sent`` is committed *before* the POST, so after any crash
the journal knows which jobs a host may have; a picture's path before it is renamed into place, so
no picture is filed twice. A job's id derives from its claim and index: adding a claim again is a
no-op. The id is also ComfyUI's prompt_id.

One connection under one lock is the single writer. Those two commits, and new claims, wait for
the disk. The others need not: they survive a kill -9 as they are, and what a power cut takes of
them is found again by asking the host, or by filing the same picture under the same name.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.answers import ImageRef
from bridge.request import Request
from core.job import ON_HOST, OPEN, State, job_id, needs
from core.journal_file import FILE, JournalError, connect, lock_out_others, unwritable
from core.records import PAUSED, Records

__all__ = ["Entry", "Journal", "JournalError"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A claimed prompt file and what it asks for.

    Attributes:
        claim: unique name of the claim.
        file: the user's own file name.
        day: YYYY-MM-DD, first part of the pictures' names.
        requests: one per job.
        batch: sub-folder it was dropped in.
        priority: of its jobs; higher goes first.
    """

    claim: str
    file: str
    day: str
    requests: Sequence[Request]
    batch: str = ""
    priority: int = 0


class Journal(Records):
    """The jobs of one director.

    Args:
        folder: state folder, made if missing; on a Linux file system.
        clock: seconds since the epoch.

    Raises:
        JournalError: another director holds it, or the file is not ours.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock, self._path = clock, folder / FILE
        self._guard = lock_out_others(folder)
        try:
            super().__init__(connect(folder))
        except JournalError:
            os.close(self._guard)
            raise
        self._tally = super().counts()
        self._paused = super().paused()

    def close(self) -> None:
        """Close the file and let another director in."""
        with self._lock:
            self._db.close()
            os.close(self._guard)

    def add(self, *entries: Entry) -> None:
        """Enter claims and their jobs in one transaction; a known claim is left as it is."""
        with self._lock:
            with self._changing():
                new = [entry for entry in entries if self._enter_claim(entry)]
                for entry in new:
                    self._enter_jobs(entry)
            self._count({State.QUEUED: sum(len(entry.requests) for entry in new)})

    def _enter_claim(self, entry: Entry) -> bool:
        stem = Path(entry.file).stem
        (serial,) = self._db.execute(
            "SELECT coalesce(max(serial), 0) + 1 FROM claims"
            " WHERE day = ? AND stem = ? AND batch = ?",
            (entry.day, stem, entry.batch),
        ).fetchone()
        entered = self._db.execute(
            "INSERT INTO claims (name, file, stem, batch, day, serial) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (entry.claim, entry.file, stem, entry.batch, entry.day, serial),
        )
        return entered.rowcount == 1

    def _enter_jobs(self, entry: Entry) -> None:
        now = self._clock()
        self._db.executemany(
            "INSERT INTO jobs (id, claim, idx, state, prio, needs, request, created, moved)"
            " VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?)",
            [
                (
                    *(job_id(entry.claim, index), entry.claim, index, entry.priority),
                    *(needs(request), request.to_json(), now, now),
                )
                for index, request in enumerate(entry.requests, start=1)
            ],
        )

    def take(self, jobs: Sequence[str], host: str) -> list[str]:
        """Give queued jobs to a host, before they are posted: those that no other was given."""
        now = self._clock()
        with self._lock:
            with self._changing():
                taken = [job for job in jobs if self._take_one(job, host, now)]
            self._count({State.QUEUED: -len(taken), State.SENT: len(taken)})
        return taken

    def _take_one(self, job: str, host: str, now: float) -> bool:
        changed = self._db.execute(
            "UPDATE jobs SET state = 'sent', host = ?, attempts = attempts + 1, moved = ?,"
            " sent = ?, started = NULL WHERE id = ? AND state = 'queued'",
            (host, now, now, job),
        )
        return changed.rowcount == 1

    def started(self, job: str) -> bool:
        """The host works on it: sent -> running."""
        return self._move(job, (State.SENT,), State.RUNNING, started=self._clock())

    def rendered(self, job: str, images: Sequence[ImageRef]) -> bool:
        """The host is done with it and holds these pictures."""
        listed = json.dumps([image.query() for image in images])
        return self._move(job, (State.SENT, State.RUNNING), State.RENDERED, images=listed)

    def intends(self, job: str, paths: Sequence[Path]) -> bool:
        """Note where the pictures will be, before the first is renamed into place."""
        listed = json.dumps([str(path) for path in paths])
        return self._move(job, (State.RENDERED,), State.RENDERED, durable=True, paths=listed)

    def done(self, job: str) -> bool:
        """The pictures are filed."""
        return self._move(job, (State.RENDERED,), State.DONE, finished=self._clock())

    def failed(self, job: str, why: str) -> bool:
        """Give a job up, with the reason its prompt file's owner will read."""
        return self._move(job, OPEN, State.FAILED, error=why, finished=self._clock())

    def requeue(self, job: str) -> bool:
        """Let it have its turn again, on any host, under the same id."""
        return self._move(job, ON_HOST, State.QUEUED, host="", images="[]")

    def lost(self, job: str, weight: int = 1) -> bool:
        """Requeue a job whose host vanished with it, or forgot it; add to its losses."""
        return self._again(job, "losses = losses + ?", weight)

    def strike(self, job: str, fingerprint: str) -> bool:
        """Requeue a job that failed, and remember how."""
        return self._again(job, "strikes = json_insert(strikes, '$[#]', ?)", fingerprint)

    def _again(self, job: str, note: str, *values: str | int) -> bool:
        with self._lock:
            requeued = self.requeue(job)
            if requeued:
                with self._changing(durable=False):
                    self._db.execute(f"UPDATE jobs SET {note} WHERE id = ?", (*values, job))  # noqa: S608 - our own words
        return requeued

    def cancel(self, job: str) -> bool:
        """Give up a job at its owner's wish; its host is kept, for it may have to be told."""
        before_the_end = (State.QUEUED, State.SENT, State.RUNNING)
        why, now = "cancelled", self._clock()
        return self._move(job, before_the_end, State.CANCELLED, True, error=why, finished=now)

    def withdrawn(self, job: str) -> None:
        """The host no longer has a cancelled job."""
        with self._changing(durable=False):
            self._db.execute(
                "UPDATE jobs SET host = '' WHERE id = ? AND state = 'cancelled'", (job,)
            )

    def retry(self, job: str) -> bool:
        """Queue a job again that failed or was cancelled; its claim is open again, too."""
        fresh = {"error": "", "strikes": "[]", "losses": 0, "finished": None, "host": ""}
        with self._lock:
            given_up = (State.FAILED, State.CANCELLED)
            if not self._move(job, given_up, State.QUEUED, True, paths="[]", images="[]", **fresh):
                return False
            with self._changing():
                self._db.execute(
                    "UPDATE claims SET settled = 0, place = ''"
                    " WHERE name = (SELECT claim FROM jobs WHERE id = ?)",
                    (job,),
                )
        return True

    def prune(self, before: float) -> int:
        """Forget settled claims whose jobs all ended before this time; return how many jobs."""
        old = (
            "SELECT name FROM claims WHERE settled = 1 AND NOT EXISTS (SELECT 1 FROM jobs"
            " WHERE claim = name AND (finished IS NULL OR finished >= ? OR state NOT IN"
            " ('done', 'failed', 'cancelled')))"
        )
        with self._lock:  # to the end, or a move in between is missing in the tally for ever
            with self._changing():
                gone = self._db.execute(f"DELETE FROM jobs WHERE claim IN ({old})", (before,))  # noqa: S608 - our own words
                self._db.execute(
                    "DELETE FROM claims WHERE settled = 1"
                    " AND NOT EXISTS (SELECT 1 FROM jobs WHERE claim = name)"
                )
            self._tally = Records.counts(self)
        return gone.rowcount

    def settle(self, claim: str, place: str = "") -> None:
        """Note that a claimed file was moved to where it stays."""
        with self._changing(durable=False):
            self._db.execute(
                "UPDATE claims SET settled = 1, place = ? WHERE name = ?", (place, claim)
            )

    def pause(self, paused: bool) -> None:
        """Let no new job be sent, or let them again; it holds across restarts."""
        with self._changing():
            if paused:
                self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, '1')", (PAUSED,))
            else:
                self._db.execute("DELETE FROM meta WHERE key = ?", (PAUSED,))
        self._paused = paused

    def paused(self) -> bool:
        """Tell whether no new job is to be sent."""
        return self._paused

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state, without asking the disk."""
        with self._lock:
            return dict(self._tally)

    def _move(
        self, job: str, states: Sequence[State], to: State, durable: bool = False, **values: Any
    ) -> bool:
        columns = {"state": to, "moved": self._clock(), **values}
        names = ", ".join(f"{name} = ?" for name in columns)
        with self._lock:
            found = self._read("SELECT state FROM jobs WHERE id = ?", job)
            if not found or found[0]["state"] not in states:
                return False
            before = State(found[0]["state"])
            with self._changing(durable):
                self._db.execute(
                    f"UPDATE jobs SET {names} WHERE id = ? AND state = ?",  # noqa: S608 - names are ours
                    (*columns.values(), job, before),
                )
            if before is not to:
                self._count({before: -1, to: 1})
        return True

    def _count(self, changes: dict[State, int]) -> None:
        with self._lock:
            for state, change in changes.items():
                self._tally[state] += change

    @contextmanager
    def _changing(self, durable: bool = True) -> Iterator[None]:
        """One transaction; what SQLite cannot write is an error that says where."""
        try:
            with self._lock:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                with self._db:
                    yield
        except sqlite3.Error as error:
            raise unwritable(self._path, error) from error
