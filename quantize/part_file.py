"""A file that is being made: `<target>.part` beside its target, until it is whole.

Whoever looks at the target's name sees the whole old file, the whole new one, or none. The part's
name is fixed and the part is locked: what a killed run left behind is taken over by the next one
instead of filling the disk, and two runs cannot write the same target.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models import store
from quantize.errors import Problem, QuantizeError


@contextmanager
def part_of(target: Path, nbytes: int) -> Iterator[int]:
    """Open the part of a target of `nbytes`, for writing by offset.

    The block's normal end publishes the file under the target's name; any other end removes it.

    Raises:
        QuantizeError: the disk has no room, or another process is making the same target.
        OSError: the disk failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    fd = _open_locked(part)
    try:
        try:
            os.ftruncate(fd, 0)  # before the room is measured: it may be gigabytes
            _check_room(target, nbytes)
            os.ftruncate(fd, nbytes)
            yield fd
            store.publish(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    finally:
        os.close(fd)  # and with it the lock


def _open_locked(part: Path) -> int:
    """Open the part with an exclusive lock.

    The last holder may have published or removed the file between our open and our lock; then we
    hold a lock on a file without this name and have to start again.
    """
    while True:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.exists() and os.path.samestat(part.stat(), os.fstat(fd)):
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise QuantizeError(
                Problem.TARGET_BUSY,
                "another process is making this file",
                path=part,
                fix="Wait for it, or stop it",
            ) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _check_room(target: Path, nbytes: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < nbytes:
        raise QuantizeError(
            Problem.NO_SPACE,
            "the disk has no room for the file",
            path=target,
            why=f"it needs {nbytes / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free",
            fix="Make room, or choose another folder",
        )
