"""The kernel's inotify: watches on folders, and the events that wait for them.

Called through watchdog's binding of the three system calls, without its observer: so only the
kinds of event come that are of use, the kernel's own queue is the only one, and no thread turns.
watchdog's observer keeps every event of a burst in memory and holds a rename out of the tree back
for half a second (benchmarks/drop_folder.py compares). What events mean for the drop folder is not
known here.
"""

import ctypes
import os
import struct
from typing import NamedTuple

from watchdog.observers.inotify_c import (
    InotifyConstants,
    WatchDescriptor,
    inotify_add_watch,
    inotify_init,
    inotify_rm_watch,
)

CLOSE_WRITE = InotifyConstants.IN_CLOSE_WRITE
MOVED_TO, CREATE = InotifyConstants.IN_MOVED_TO, InotifyConstants.IN_CREATE
DELETE_SELF, MOVE_SELF = InotifyConstants.IN_DELETE_SELF, InotifyConstants.IN_MOVE_SELF
OVERFLOW, IGNORED = InotifyConstants.IN_Q_OVERFLOW, InotifyConstants.IN_IGNORED
IS_FOLDER = InotifyConstants.IN_ISDIR
_ONLY_FOLDERS = InotifyConstants.IN_ONLYDIR
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
        OSError: the user's instances are used up (EMFILE).
    """

    def __init__(self) -> None:
        self._fd = _checked(inotify_init())
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def add(self, folder: str) -> int:
        """Watch a folder; one that is watched already keeps its number.

        Raises:
            OSError: it is no folder, cannot be read, or the watches are used up (ENOSPC).
        """
        return _checked(inotify_add_watch(self._fd, os.fsencode(folder), _WANTED))

    def remove(self, watch: int) -> None:
        """Stop a watch; one that ended by itself is no error."""
        inotify_rm_watch(self._fd, WatchDescriptor(watch))

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
