"""Copying a file so that nobody ever sees half of it, and so that it is the same file.

Copied under another name, hashed on the way, on the disk before it is trusted, read back, compared,
renamed. Made for Windows drives seen through 9p, too: a plain rename, tried again while a program
on the other side holds the file.
"""

import errno
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models import store
from models.errors import ModelError

_CHUNK = 4 << 20
# A Windows program, a virus scanner most of all, may hold a file for a moment: through 9p that
# is EACCES or EBUSY. Six seconds in all.
_BUSY = (errno.EACCES, errno.EBUSY, errno.EPERM)
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class SafeCopy:
    """One file on its way.

    Attributes:
        source: the file.
        sha256: what it must have.
        target: the copy's name; its folder is made.
        temp: the name until then, in the same folder; it is gone afterwards, whatever happens.
    """

    source: Path
    sha256: str
    target: Path
    temp: Path

    def run(self, report: Report, before_rename: Callable[[], None]) -> None:
        """Copy.

        Args:
            report: told what is being done, and the share done.
            before_rename: called when the copy is whole and has not got its name yet.

        Raises:
            ModelError: the source changed, or the disk gives back other bytes.
            OSError: the disk refuses.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._write(report)
            report(f"reading {self.target.name} back", 1.0)
            if _read_back(self.temp) != self.sha256:
                raise self._miscopied()
            before_rename()
            patiently(lambda: self.temp.replace(self.target))
        finally:
            with suppress(FileNotFoundError):
                self.temp.unlink()
        _sync_folder(self.target.parent)

    def _write(self, report: Report) -> None:
        digest, size = hashlib.sha256(), max(1, self.source.stat().st_size)
        what = f"copying {self.source.name} to {self.target.parent}"
        with self.source.open("rb", buffering=0) as read, self.temp.open("wb", buffering=0) as copy:
            while chunk := read.read(_CHUNK):
                digest.update(chunk)
                _write_all(copy.fileno(), chunk)
                report(what, copy.tell() / size)
            os.fsync(copy.fileno())
        if digest.hexdigest() != self.sha256:
            raise ModelError(
                "it changed while it was being copied",
                path=self.source,
                fix="Run pair again once it is whole",
            )

    def _miscopied(self) -> ModelError:
        return ModelError(
            "the disk gives back other bytes than were written",
            path=self.target.parent,
            why=f"the copy of {self.source.name} has another SHA-256",
            fix="Check that disk; nothing was put there",
        )


def patiently(work: Callable[[], object]) -> None:
    """Do something that a program on the other side may hinder for a moment.

    Raises:
        OSError: it still does after some seconds, or something else is wrong.
    """
    for pause in _PAUSES:
        try:
            work()
        except OSError as error:
            if error.errno not in _BUSY:
                raise
        else:
            return
        time.sleep(pause)
    work()


def _write_all(fd: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _read_back(path: Path) -> str:
    """Hash a file as the disk has it, as far as the system lets go of its cache."""
    with path.open("rb") as file, suppress(OSError):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return store.sha256(path)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # 9p and some network drives know no such thing
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
