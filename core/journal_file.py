"""The journal's file: its tables, how it is opened, locked and brought up to date.

WAL with ``synchronous=FULL``: a commit survives power loss, not only kill -9. A second director
is kept out by an flock on a file beside it; readers (``status``, ``jobs``) need no lock.
"""

import fcntl
import os
import sqlite3
import time
from pathlib import Path

from bridge.request import Request
from core.job import needs

SCHEMA_VERSION = 3
FILE, LOCK = "journal.sqlite", "director.lock"
LOCK_TRIES, LOCK_PAUSE = 4, 0.05  # seconds
BUSY = 15.0  # seconds to wait for another writer: a director, and workers of trainings

_SCHEMA = """
CREATE TABLE claims (
    name TEXT PRIMARY KEY,      -- unique name of the claimed file
    file TEXT NOT NULL,         -- the user's own file name
    stem TEXT NOT NULL,
    batch TEXT NOT NULL DEFAULT '',     -- sub-folder of the inbox, with slashes
    day TEXT NOT NULL,          -- YYYY-MM-DD of the claim, first part of the pictures' names
    serial INTEGER NOT NULL,    -- 1 for the first claim of that stem, batch and day
    settled INTEGER NOT NULL DEFAULT 0, -- 1 once the file was moved to done/ or failed/
    place TEXT NOT NULL DEFAULT ''      -- where it was moved to
);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    claim TEXT NOT NULL REFERENCES claims(name),
    idx INTEGER NOT NULL,       -- 1-based place in the prompt file
    state TEXT NOT NULL,
    prio INTEGER NOT NULL DEFAULT 0,    -- higher goes first
    needs TEXT NOT NULL DEFAULT '',     -- core.job.needs of the request
    request TEXT NOT NULL,
    host TEXT NOT NULL DEFAULT '',      -- the host that has it, or may still have it
    attempts INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    strikes TEXT NOT NULL DEFAULT '[]',
    images TEXT NOT NULL DEFAULT '[]',
    paths TEXT NOT NULL DEFAULT '[]',
    error TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL,      -- seconds since the epoch, as all times here
    moved REAL NOT NULL,        -- last change of state
    sent REAL,
    started REAL,
    finished REAL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# No partial index on jobs: SQLite does not use one for `state = ?` (17 times slower at 10,000).
_INDEXES = """
CREATE INDEX jobs_by_turn ON jobs (state, prio DESC, seq);
CREATE INDEX jobs_by_claim ON jobs (claim, state);
CREATE INDEX claims_by_name ON claims (day, stem, batch);
CREATE INDEX claims_waiting ON claims (settled) WHERE settled = 0;
"""
_FROM_1 = """
DROP INDEX jobs_by_state;
DROP INDEX jobs_by_claim;
ALTER TABLE claims ADD COLUMN batch TEXT NOT NULL DEFAULT '';
ALTER TABLE claims ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN prio INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN needs TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN strikes TEXT NOT NULL DEFAULT '[]';
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# Trainings are no jobs: each is written by its own worker process (core.training_table).
_TRAININGS = """
CREATE TABLE trainings (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,         -- of the LoRA; several trainings may have had it
    place TEXT NOT NULL,        -- local, kaggle
    phase TEXT NOT NULL,        -- where it is, or goes on
    state TEXT NOT NULL,        -- working, done, failed, stopped
    folder TEXT NOT NULL,       -- its run folder
    pictures TEXT NOT NULL,     -- core.training_pictures.fingerprint of its folder of pictures
    unet TEXT NOT NULL,         -- the file that will draw with the LoRA
    flags TEXT NOT NULL DEFAULT '[]',   -- of its worker's command line
    pid INTEGER NOT NULL DEFAULT 0,     -- its newest worker
    born INTEGER NOT NULL DEFAULT 0,    -- when that process began, in ticks since the boot
    slug TEXT NOT NULL DEFAULT '',      -- of its kernel on Kaggle
    version INTEGER NOT NULL DEFAULT 0, -- that was pushed last
    reached INTEGER NOT NULL DEFAULT 0, -- updates made when it was pushed last
    stuck INTEGER NOT NULL DEFAULT 0,   -- pushes in a row that added none
    told TEXT NOT NULL DEFAULT '',      -- what it does, waits for, or why it ended
    sheet TEXT NOT NULL DEFAULT '',     -- the test sheet
    created REAL NOT NULL,
    moved REAL NOT NULL,        -- last change of phase or state
    ended REAL
);
CREATE INDEX trainings_by_name ON trainings (name, created);
"""
_CHANGES = {
    0: _SCHEMA + _INDEXES + _TRAININGS,
    1: _FROM_1 + _INDEXES + _TRAININGS,
    2: _TRAININGS,
    SCHEMA_VERSION: "",
}


class JournalError(Exception):
    """The journal cannot be used; the message says why and what to do."""


def connect(folder: Path) -> sqlite3.Connection:
    """Open the journal for writing, making it or bringing it up to date.

    Raises:
        JournalError: not ours, damaged, from a newer version, or not writable.
    """
    path = folder / FILE
    try:
        db = sqlite3.connect(path, check_same_thread=False, timeout=BUSY)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _bring_up_to_date(db, path)
    except sqlite3.OperationalError as error:
        raise unwritable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"{path} cannot be used ({error}); move it away to start anew"
        ) from error
    return db


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """Open the journal beside its director, to read only.

    Raises:
        JournalError: there is none, or it is not ours.
    """
    path = folder / FILE
    if not path.exists():
        raise JournalError(f"There is no journal in {folder}: no director has run with it yet")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        db.row_factory = sqlite3.Row
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path} cannot be read ({error})") from error
    if version != SCHEMA_VERSION:
        raise JournalError(f"{path} is of version {version}; start the director once to update it")
    return db


def _bring_up_to_date(db: sqlite3.Connection, path: Path) -> None:
    if _version(db) == SCHEMA_VERSION:
        return
    with db:
        db.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
        version = _version(db)
        if version not in _CHANGES:
            raise _is_newer(path, version)
        for statement in _CHANGES[version].split(";\n"):
            db.execute(statement)
        for seq, request in db.execute("SELECT seq, request FROM jobs WHERE needs = ''").fetchall():
            name = needs(Request.from_json(request))
            db.execute("UPDATE jobs SET needs = ? WHERE seq = ?", (name, seq))
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _is_newer(path: Path, version: int) -> JournalError:
    return JournalError(f"{path} was written by a newer Vulcan (version {version}); update this")


def unwritable(path: Path, error: sqlite3.Error) -> JournalError:
    """Return the error for a journal that cannot be written."""
    return JournalError(
        f"{path} cannot be written ({error}); make room or mend its folder: nothing is lost"
    )


def lock_out_others(folder: Path) -> int:
    """Take the director's lock; the number is a file descriptor that holds it until closed.

    Raises:
        JournalError: another director holds it.
    """
    guard = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if not _locked(guard):
        holder = os.read(guard, 32).decode(errors="replace").strip()
        os.close(guard)
        raise JournalError(
            f"Another director (process {holder or 'unknown'}) works with {folder}; "
            "stop it, or start this one with another state folder (VULCAN_STATE)"
        )
    os.ftruncate(guard, 0)
    os.pwrite(guard, str(os.getpid()).encode(), 0)
    return guard


def _locked(guard: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(LOCK_PAUSE)  # `director_at` holds it for a moment to see who does
        else:
            return True
    return False


def director_at(folder: Path) -> int | None:
    """Return the process that holds a state folder's lock; ``None`` when nobody does."""
    try:
        guard = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        told = os.read(guard, 32).decode(errors="replace").strip()
        return int(told) if told.isdigit() else 0
    finally:
        os.close(guard)
    return None
