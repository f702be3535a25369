"""Keeps a large file that is being written out of the page cache.

Left alone, the kernel gathers written pages until a tenth of the memory waits for the disk, then
stops everybody, and the file has pushed out whatever was cached before. So writing is started as
soon as a window of bytes is complete, and once that has reached the disk, its pages are given up:
at most three windows wait at any time. Where sync_file_range is missing (it is Linux's), the pages
are only offered to be given up.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache

WINDOW = 32 << 20

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4  # linux/fs.h, SYNC_FILE_RANGE_*

SyncRange = Callable[[int, int, int, int], None]


class WriteBehind:
    """Follows the writing of one file from its front to its back.

    Args:
        fd: the file, open for writing.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._started = 0  # everything before it is on its way to the disk
        self._dropped = 0  # everything before it is there, and out of the cache

    def written(self, end: int) -> None:
        """Everything before `end` has been written."""
        while end - self._started >= WINDOW:
            _sync_range()(self._fd, self._started, WINDOW, _WRITE)
            self._started += WINDOW
            if self._started - self._dropped > 2 * WINDOW:
                self._drop()

    def _drop(self) -> None:
        _sync_range()(self._fd, self._dropped, WINDOW, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
        os.posix_fadvise(self._fd, self._dropped, WINDOW, os.POSIX_FADV_DONTNEED)
        self._dropped += WINDOW


@cache
def _sync_range() -> SyncRange:
    """Linux's sync_file_range; a failure of it is no matter, fsync at the end tells the truth."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return lambda fd, offset, nbytes, flags: None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call.restype = ctypes.c_int

    def sync(fd: int, offset: int, nbytes: int, flags: int) -> None:
        call(fd, offset, nbytes, flags)

    return sync
