"""The trainings in the journal's database: read and written beside a running director.

A director holds the lock of its state folder, and with it all jobs; trainings are not jobs. Each
is written by the one worker that holds its run's lock, in transactions of a single statement, so
neither waits long for the other (SQLite's WAL has one writer at a time; both wait for
``journal_file.BUSY`` seconds). What the phases mean is :mod:`core.training_record`'s.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.journal_file import FILE, connect, unwritable
from core.training_record import Phase, State, Training, Where

_COLUMNS = tuple(field.name for field in fields(Training))


class Trainings:
    """The table.

    Args:
        folder: state folder.
        clock: seconds since the epoch.

    Raises:
        JournalError: the database cannot be used.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._db, self._path, self._clock = connect(folder), folder / FILE, clock

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def add(self, training: Training) -> None:
        """Enter a new one.

        Raises:
            JournalError: the disk refuses.
        """
        values = [_plain(getattr(training, name)) for name in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        self._write(f"INSERT INTO trainings ({', '.join(_COLUMNS)}) VALUES ({marks})", values)  # noqa: S608 - our own words

    def get(self, training: str) -> Training:
        """Return one by its id.

        Raises:
            KeyError: there is none.
        """
        found = self._read("WHERE id = ?", training)
        if not found:
            raise KeyError(training)
        return found[0]

    def named(self, name: str) -> Training | None:
        """Return the newest of a name, or of an id; ``None`` if there is none."""
        found = self._read("WHERE name = ? OR id = ? ORDER BY created DESC LIMIT 1", name, name)
        return found[0] if found else None

    def all(self) -> list[Training]:
        """Return all of them, oldest first."""
        return self._read("ORDER BY created, id")

    def moved(self, training: str, **changes: Any) -> None:
        """Note a new phase or state, and what goes with it.

        Raises:
            JournalError: the disk refuses.
        """
        self.note(training, moved=self._clock(), **changes)

    def note(self, training: str, **changes: Any) -> None:
        """Note what happens within a phase.

        Raises:
            JournalError: the disk refuses.
        """
        names = ", ".join(f"{name} = ?" for name in changes)
        values = [*map(_plain, changes.values()), training]
        self._write(f"UPDATE trainings SET {names} WHERE id = ?", values)  # noqa: S608 - our own words

    def end(self, training: str, state: State, told: str) -> None:
        """Note how it ended.

        Raises:
            JournalError: the disk refuses.
        """
        self.moved(training, state=state, told=told, ended=self._clock())

    def _write(self, statement: str, values: list[Any]) -> None:
        try:
            with self._db:
                self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise unwritable(self._path, error) from error

    def _read(self, rest: str, *values: str) -> list[Training]:
        return [
            _training(row)
            for row in self._db.execute(f"SELECT * FROM trainings {rest}", values)  # noqa: S608 - our own words
        ]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _training(row: sqlite3.Row) -> Training:
    values = {name: row[name] for name in _COLUMNS}
    kinds = {"place": Where, "phase": Phase, "state": State, "folder": Path, "unet": Path}
    return Training(**values | {name: kind(values[name]) for name, kind in kinds.items()})
