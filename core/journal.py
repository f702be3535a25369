"""The journal: every job and its state, in one SQLite file. The only state threads share.

Life of a job; every arrow is one compare-and-set, so a late or repeated step changes nothing::

    queued -> sent -> running -> rendered -> done
       ^        |        |          |
       +--------+--------+----------+      the host lost it: once more, with the same id
       +--------+--------+----------+--->  failed | cancelled

``sent`` is committed *before* the POST, so after any crash the journal knows which jobs a host
may have; ``rendered`` with its target path before the picture is renamed into place, so no
picture is filed twice. A job's id derives from its claim and index: adding a claim again is a
no-op. The id is also ComfyUI's prompt_id.

WAL with synchronous=FULL: a commit survives power loss, not only kill -9. One connection under
one lock is the single writer; a second director is kept out by an flock.
"""

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.answers import ImageRef
from bridge.request import Request
from core.job import ON_HOST, OPEN, Job, State, job_id

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE claims (
    name TEXT PRIMARY KEY,      -- unique name of the claimed file
    file TEXT NOT NULL,         -- the user's own file name
    stem TEXT NOT NULL,
    day TEXT NOT NULL,          -- YYYY-MM-DD of the claim, first part of the pictures' names
    serial INTEGER NOT NULL,    -- 1 for the first claim of that stem on that day
    settled INTEGER NOT NULL DEFAULT 0  -- 1 once the file was moved to done/ or failed/
);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    claim TEXT NOT NULL REFERENCES claims(name),
    idx INTEGER NOT NULL,       -- 1-based place in the prompt file
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    images TEXT NOT NULL DEFAULT '[]',
    paths TEXT NOT NULL DEFAULT '[]',
    error TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,      -- seconds since the epoch, as all times here
    moved REAL NOT NULL,        -- last change of state
    sent REAL,
    started REAL,
    finished REAL
);
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_claim ON jobs (claim);
"""


class JournalError(Exception):
    """The journal cannot be used; the message says why and what to do."""


_SELECT = "SELECT jobs.*, claims.file, stem, day, serial FROM jobs JOIN claims ON name = claim "


class Journal:
    """The jobs of one director.

    Args:
        folder: state folder, made if missing; on a Linux file system.
        clock: seconds since the epoch.

    Raises:
        JournalError: another director holds it, or the file is not ours.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.RLock()
        self._guard = _lock_out_others(folder / "director.lock")
        self._path = folder / "journal.sqlite"
        self._db = _connect(self._path)

    def close(self) -> None:
        """Close the file and let another director in."""
        with self._lock:
            self._db.close()
            os.close(self._guard)

    def add(self, claim: str, file: str, day: str, requests: Sequence[Request]) -> None:
        """Enter a claim and its jobs in one transaction; a known claim is left as it is."""
        now = self._clock()
        with self._changing():
            if not self._enter_claim(claim, file, day):
                return
            self._db.executemany(
                "INSERT INTO jobs (id, claim, idx, state, request, created, moved)"
                " VALUES (?, ?, ?, 'queued', ?, ?, ?)",
                [
                    (job_id(claim, index), claim, index, request.to_json(), now, now)
                    for index, request in enumerate(requests, start=1)
                ],
            )

    def _enter_claim(self, claim: str, file: str, day: str) -> bool:
        stem = Path(file).stem
        (earlier,) = self._db.execute(
            "SELECT count(*) FROM claims WHERE stem = ? AND day = ?", (stem, day)
        ).fetchone()
        entered = self._db.execute(
            "INSERT INTO claims (name, file, stem, day, serial) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (claim, file, stem, day, earlier + 1),
        )
        return entered.rowcount == 1

    def take(self, host: str) -> Job | None:
        """Move the oldest queued job to ``sent`` for this host, before it is posted."""
        now = self._clock()
        with self._changing():
            row = self._db.execute(
                "UPDATE jobs SET state = 'sent', host = ?, attempts = attempts + 1,"
                " moved = ?, sent = ?, started = NULL WHERE seq ="
                " (SELECT seq FROM jobs WHERE state = 'queued' ORDER BY seq LIMIT 1)"
                " AND state = 'queued' RETURNING id",
                (host, now, now),
            ).fetchone()
        return self.job(row[0]) if row else None

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
        return self._move(job, (State.RENDERED,), State.RENDERED, paths=listed)

    def done(self, job: str) -> bool:
        """The pictures are filed."""
        return self._move(job, (State.RENDERED,), State.DONE, finished=self._clock())

    def failed(self, job: str, why: str) -> bool:
        """Give a job up, with the reason its prompt file's owner will read."""
        return self._move(job, OPEN, State.FAILED, error=why, finished=self._clock())

    def requeue(self, job: str) -> bool:
        """The host has nothing of it: once more from the start, under the same id."""
        return self._move(job, ON_HOST, State.QUEUED, host="", images="[]")

    def _move(self, job: str, states: Sequence[State], to: State, **values: Any) -> bool:
        columns = {"state": to, "moved": self._clock(), **values}
        names = ", ".join(f"{name} = ?" for name in columns)
        held = ", ".join("?" * len(states))
        with self._changing():
            changed = self._db.execute(
                f"UPDATE jobs SET {names} WHERE id = ? AND state IN ({held})",  # noqa: S608 - names are ours
                (*columns.values(), job, *states),
            )
        return changed.rowcount == 1

    def settle(self, claim: str) -> None:
        """Note that a claimed file was moved to where it stays."""
        with self._changing():
            self._db.execute("UPDATE claims SET settled = 1 WHERE name = ?", (claim,))

    def knows(self, claim: str) -> bool:
        """Tell whether a claim was entered."""
        return bool(self._read("SELECT 1 FROM claims WHERE name = ?", claim))

    def job(self, job: str) -> Job:
        """Return one job."""
        return _job(self._read(_SELECT + "WHERE id = ?", job)[0])

    def on_host(self) -> list[Job]:
        """Return the jobs that some host may have, oldest first."""
        rows = self._read(_SELECT + "WHERE state IN ('sent', 'running', 'rendered') ORDER BY seq")
        return [_job(row) for row in rows]

    def of_claim(self, claim: str) -> list[Job]:
        """Return a claim's jobs in the order of the file."""
        return [_job(row) for row in self._read(_SELECT + "WHERE claim = ? ORDER BY idx", claim)]

    def all(self) -> list[Job]:
        """Return every job, oldest first."""
        return [_job(row) for row in self._read(_SELECT + "ORDER BY seq")]

    def finished_claims(self) -> list[str]:
        """Return the claims whose jobs have all ended but whose file still waits."""
        rows = self._read(
            "SELECT name FROM claims WHERE settled = 0 AND NOT EXISTS (SELECT 1 FROM jobs WHERE"
            " claim = name AND state IN ('queued', 'sent', 'running', 'rendered'))"
        )
        return [row["name"] for row in rows]

    def is_finished(self, claim: str) -> bool:
        """Tell whether every job of a claim has ended."""
        still_open = self._read(
            "SELECT 1 FROM jobs WHERE claim = ?"
            " AND state IN ('queued', 'sent', 'running', 'rendered') LIMIT 1",
            claim,
        )
        return not still_open

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        rows = self._read("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        found = {State(row["state"]): int(row["n"]) for row in rows}
        return {state: found.get(state, 0) for state in State}

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One transaction; what SQLite cannot write is an error that says where."""
        try:
            with self._lock, self._db:
                yield
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from error


def _job(row: sqlite3.Row) -> Job:
    serial = f"-{row['serial']}" if row["serial"] > 1 else ""
    return Job(
        id=row["id"],
        claim=row["claim"],
        file=row["file"],
        index=row["idx"],
        name=f"{row['day']}_{row['stem']}{serial}_{row['idx']:03}",
        state=State(row["state"]),
        request=Request.from_json(row["request"]),
        host=row["host"],
        attempts=row["attempts"],
        images=tuple(ImageRef(**image) for image in json.loads(row["images"])),
        paths=tuple(map(Path, json.loads(row["paths"]))),
        error=row["error"],
        moved=row["moved"],
        sent=row["sent"],
        started=row["started"],
        finished=row["finished"],
    )


def _lock_out_others(path: Path) -> int:
    guard = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(guard, 32).decode(errors="replace").strip()
        os.close(guard)
        raise JournalError(
            f"Another director (process {holder or 'unknown'}) works with {path.parent}; "
            "stop it, or start this one with another state folder (VULCAN_STATE)"
        ) from error
    os.ftruncate(guard, 0)
    os.pwrite(guard, str(os.getpid()).encode(), 0)
    return guard


def _connect(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise JournalError(f"{path} was written by another version of Vulcan ({version})")
    except sqlite3.OperationalError as error:
        raise _unwritable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"{path} cannot be used ({error}); move it away to start anew"
        ) from error
    return db


def _unwritable(path: Path, error: sqlite3.OperationalError) -> JournalError:
    return JournalError(
        f"{path} cannot be written ({error}); make room or mend its folder, then start again: "
        "nothing is lost"
    )
