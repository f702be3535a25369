"""What the journal knows, for whoever asks: the director itself, or ``status`` beside it.

Reading only. How jobs move is :mod:`core.journal`'s part.
"""

import json
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.answers import ImageRef
from bridge.request import Request
from core.job import Job, State
from core.journal_file import JournalError, connect_to_read

_SELECT = (
    "SELECT jobs.*, claims.file, stem, batch, day, serial FROM jobs JOIN claims ON name = claim "
)
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A claimed prompt file as the journal has it.

    Attributes:
        name: unique name.
        file: the user's own.
        batch: sub-folder it was dropped in.
        stem: its own, with a number where the day had it before.
        day: YYYY-MM-DD.
        place: where it was moved to when its jobs had ended, empty before.
    """

    name: str
    file: str
    batch: str
    stem: str
    day: str
    place: str


class Records:
    """A journal's contents.

    Args:
        db: an open connection.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lock = threading.RLock()

    @classmethod
    def beside(cls, folder: Path) -> "Records":
        """Open a state folder's journal to read, whether or not a director runs.

        Raises:
            JournalError: there is none.
        """
        return cls(connect_to_read(folder))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def job(self, job: str) -> Job:
        """Return one job."""
        return _job(self._read(_SELECT + "WHERE id = ?", job)[0])

    def ids(self, start: str) -> list[str]:
        """Return the ids that begin like this, two at the most."""
        rows = self._read(
            "SELECT id FROM jobs WHERE substr(id, 1, ?) = ? LIMIT 2", len(start), start
        )
        return [row["id"] for row in rows]

    def upcoming(self, count: int, unfit: Sequence[str] = ()) -> list[Job]:
        """Return whose turn it is: the highest priority, then the oldest.

        Args:
            count: so many at most.
            unfit: :func:`~core.job.needs` that the asking host does not meet.
        """
        names = ", ".join("?" * len(unfit))
        rows = self._read(
            _SELECT + f"WHERE state = 'queued' AND needs NOT IN ({names})"
            " ORDER BY prio DESC, seq LIMIT ?",
            *unfit,
            count,
        )
        return [_job(row) for row in rows]

    def queued_with(self, needs: str) -> list[str]:
        """Return the ids of the jobs that wait and have these needs."""
        rows = self._read("SELECT id FROM jobs WHERE state = 'queued' AND needs = ?", needs)
        return [row["id"] for row in rows]

    def on_host(self) -> list[Job]:
        """Return the jobs that some host may have, oldest first."""
        rows = self._read(_SELECT + "WHERE state IN ('sent', 'running', 'rendered') ORDER BY seq")
        return [_job(row) for row in rows]

    def to_withdraw(self, host: str) -> list[str]:
        """Return the ids of cancelled jobs that this host may still have."""
        rows = self._read("SELECT id FROM jobs WHERE state = 'cancelled' AND host = ?", host)
        return [row["id"] for row in rows]

    def of_claim(self, claim: str) -> list[Job]:
        """Return a claim's jobs in the order of the file."""
        return [_job(row) for row in self._read(_SELECT + "WHERE claim = ? ORDER BY idx", claim)]

    def of_file(self, file: str) -> list[Job]:
        """Return the jobs of the newest claim of a prompt file, by the user's name of it."""
        rows = self._read(
            "SELECT name FROM claims WHERE file = ? ORDER BY rowid DESC LIMIT 1", file
        )
        return self.of_claim(rows[0]["name"]) if rows else []

    def listed(
        self, states: Sequence[State] = (), batch: str | None = None, limit: int = -1
    ) -> list[Job]:
        """Return jobs, oldest first: the newest ``limit`` that match, -1 for all."""
        conditions, values = ["1"], list[Any](states)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
        if batch is not None:
            conditions.append("(batch = ? OR substr(batch, 1, ?) = ?)")
            values += [batch, len(batch) + 1, f"{batch}/"]
        rows = self._read(
            _SELECT + f"WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?", *values, limit
        )
        return [_job(row) for row in reversed(rows)]

    def all(self) -> list[Job]:
        """Return every job, oldest first."""
        return self.listed()

    def claim(self, name: str) -> ClaimRow:
        """Return one claim."""
        row = self._read("SELECT * FROM claims WHERE name = ?", name)[0]
        return ClaimRow(
            row["name"], row["file"], row["batch"], _stem(row), row["day"], row["place"]
        )

    def knows(self, claim: str) -> bool:
        """Tell whether a claim was entered."""
        return bool(self._read("SELECT 1 FROM claims WHERE name = ?", claim))

    def waits_for_its_file(self, claim: str) -> bool:
        """Tell whether a claim is there whose file was not yet put where it stays."""
        return bool(self._read("SELECT 1 FROM claims WHERE name = ? AND place = ''", claim))

    def finished_claims(self) -> list[str]:
        """Return the claims whose jobs have all ended but whose file still waits."""
        rows = self._read(
            "SELECT name FROM claims WHERE settled = 0 AND NOT EXISTS (SELECT 1 FROM jobs"
            " WHERE claim = name AND state IN ('queued', 'sent', 'running', 'rendered'))"
        )
        return [row["name"] for row in rows]

    def is_finished(self, claim: str) -> bool:
        """Tell whether every job of a claim has ended."""
        return not self._read(
            "SELECT 1 FROM jobs WHERE claim = ?"
            " AND state IN ('queued', 'sent', 'running', 'rendered') LIMIT 1",
            claim,
        )

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        rows = self._read("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        found = {State(row["state"]): int(row["n"]) for row in rows}
        return {state: found.get(state, 0) for state in State}

    def needed_images(self) -> set[str]:
        """Return the sha256 of every picture that a job of the journal starts from."""
        rows = self._read("SELECT DISTINCT json_extract(request, '$.image.sha256') AS s FROM jobs")
        return {row["s"] for row in rows if row["s"]}

    def paused(self) -> bool:
        """Tell whether no new job is to be sent."""
        return bool(self._read("SELECT 1 FROM meta WHERE key = ?", PAUSED))

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(
                f"The journal cannot be read ({error}); is its disk well?"
            ) from error


def _stem(row: sqlite3.Row) -> str:
    return f"{row['stem']}-{row['serial']}" if row["serial"] > 1 else str(row["stem"])


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        claim=row["claim"],
        file=row["file"],
        batch=row["batch"],
        index=row["idx"],
        name=f"{row['day']}_{_stem(row)}_{row['idx']:03}",
        state=State(row["state"]),
        priority=row["prio"],
        needs=row["needs"],
        request=Request.from_json(row["request"]),
        host=row["host"],
        attempts=row["attempts"],
        losses=row["losses"],
        strikes=tuple(json.loads(row["strikes"])),
        images=tuple(ImageRef(**image) for image in json.loads(row["images"])),
        paths=tuple(map(Path, json.loads(row["paths"]))),
        error=row["error"],
        moved=row["moved"],
        sent=row["sent"],
        started=row["started"],
        finished=row["finished"],
    )
