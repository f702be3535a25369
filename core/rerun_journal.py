"""The journal as ``rerun`` sees it: read beside a director that may be at work, never written.

Asks for one prompt file by its name. Only columns that every version of the journal has are read.
"""

import fcntl
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

JOURNAL, LOCK = "journal.sqlite", "director.lock"
BUSY = 5.0  # seconds to wait while the director makes a new journal


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a file's jobs so far.

    Attributes:
        state: of its job, as the journal names it.
        paths: pictures, once it is done.
        error: why it failed.
    """

    state: str
    paths: tuple[Path, ...]
    error: str

    @property
    def ended(self) -> bool:
        """Nothing more will become of it."""
        return self.state in ("done", "failed", "cancelled")


def fate(state: Path, file: str) -> Fate | None:
    """Return what became of a prompt file that asks for one job; ``None`` while it is unknown.

    Args:
        state: state folder.
        file: the user's own name of the file.
    """
    journal = state / JOURNAL
    if not journal.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as db:
            row = db.execute(
                "SELECT jobs.state, paths, error FROM jobs JOIN claims ON claims.name = jobs.claim"
                " WHERE claims.file = ? ORDER BY jobs.seq DESC LIMIT 1",
                (file,),
            ).fetchone()
    except sqlite3.DatabaseError:
        return None  # being made at this moment, or damaged, of which its director will tell
    return Fate(str(row[0]), tuple(map(Path, json.loads(row[1]))), str(row[2])) if row else None


def director_runs(state: Path) -> bool:
    """Tell whether a director holds the state folder."""
    try:
        guard = os.open(state / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(guard)
    return False
