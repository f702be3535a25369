"""The kernel's inotify: watches on folders, and the events that wait for them.

Bound by ctypes, so that three kinds of event come (not twelve), the kernel's own queue is the only
one, and no thread turns; watchdog keeps every event of a burst in memory and holds a rename out of
the tree back for half a second (benchmarks/drop_folder.py compares). What events mean for the drop
folder is not known here.
"""

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

CLOSE_WRITE, MOVED_TO, CREATE = 0x8, 0x80, 0x100
DELETE_SELF, MOVE_SELF = 0x400, 0x800
OVERFLOW, IGNORED, IS_FOLDER = 0x4000, 0x8000, 0x40000000
_ONLY_FOLDERS = 0x1000000
_WANTED = CLOSE_WRITE | MOVED_TO | CREATE | DELETE_SELF | MOVE_SELF | _ONLY_FOLDERS
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_READ = 1 << 16


class Event(NamedTuple):
    """Something happened in a watched folder.

    Attributes:
        watch: number of the watch; -1 for the overflow of the kernel's queue.
        mask: what happened, as bits.
        name: the entry of that folder it happened to; empty for the folder itself.
    """

    watch: int
    mask: int
    name: str


class Inotify:
    """One queue of events.

    Raises:
        OSError: the user's instances are used up (EMFILE), or this system has no inotify (ENOSYS).
    """

    def __init__(self) -> None:
        self._fd = _checked(_function("inotify_init1")(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def add(self, folder: str) -> int:
        """Watch a folder; one that is watched already keeps its number.

        Raises:
            OSError: it is no folder, cannot be read, or the watches are used up (ENOSPC).
        """
        add = _function("inotify_add_watch")
        return _checked(add(self._fd, os.fsencode(folder), ctypes.c_uint32(_WANTED)))

    def remove(self, watch: int) -> None:
        """Stop a watch; one that ended by itself is no error."""
        _function("inotify_rm_watch")(self._fd, watch)

    def read(self) -> list[Event]:
        """Return some of the events that wait; empty when none does."""
        try:
            return _events(os.read(self._fd, _READ))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)


def _events(data: bytes) -> list[Event]:
    events, at = [], 0
    while at < len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        events.append(Event(watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
        at += length
    return events


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@functools.cache
def _function(name: str) -> Callable[..., int]:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except AttributeError:
        raise OSError(errno.ENOSYS, "this system has no inotify") from None
    return function
