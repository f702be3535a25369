"""When a file's writer is done: it was closed or moved in, or has not changed for a while.

A writer that pauses would be cut off by the second rule alone. On a local disk the kernel is asked
before: a read lease is refused while anybody has the file open for writing. Where files are, and
who reads them, is not known here.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

EMPTY = 5.0  # seconds an empty file is waited for: browsers and Explorer make those first
HELD_MOST = 600.0  # seconds an unchanged file may be held open by a program that forgot it


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a folder is looked at, in seconds.

    Attributes:
        settle: without a change, before an unannounced file is taken.
        looks: that many looks in a row must have found it unchanged.
        poll: between two looks while something is awaited.
        scan: between two looks when nothing is.
    """

    settle: float
    looks: int
    poll: float
    scan: float


WITH_EVENTS = Pace(settle=1.0, looks=1, poll=0.5, scan=5.0)
WITHOUT_EVENTS = Pace(settle=1.0, looks=2, poll=0.5, scan=0.5)
# A Windows program's writes come through in pieces, and each look costs ten times as much.
REMOTE_DRIVE = Pace(settle=2.0, looks=2, poll=0.75, scan=0.75)


@dataclass(slots=True)
class _Seen:
    """What a file looked like, since when, and how many looks have found it the same."""

    size: int
    mtime_ns: int
    inode: int
    since: float
    is_closed: bool = False
    looks: int = 0

    def same(self, other: os.stat_result) -> bool:
        return (self.size, self.mtime_ns, self.inode) == (
            other.st_size,
            other.st_mtime_ns,
            other.st_ino,
        )


class Settling:
    """Remembers the files that are not done yet.

    Args:
        pace: how long is long enough.
        clock: seconds, monotonic.
        has_leases: whether the kernel can be asked who writes; not on drives of another system.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float], has_leases: bool) -> None:
        self.pace = pace
        self._clock, self._has_leases = clock, has_leases
        self._before: dict[str, _Seen] = {}
        self._now: dict[str, _Seen] = {}

    def next_round(self) -> None:
        """Begin a look at all files; those the last one did not meet are forgotten."""
        self._before, self._now = self._now, {}

    def is_done(self, path: str, stat: os.stat_result, is_closed: bool, keep: bool = False) -> bool:
        """Tell whether a file's writer is done.

        Args:
            path: the file.
            stat: what it looks like now.
            is_closed: whether an event since the last look said that it was closed or moved in.
            keep: remember the event although it decides now, for a file that waits for another.
        """
        if is_closed and stat.st_size and not keep:
            return True
        seen, now = self._see(path, stat), self._clock()
        seen.is_closed = seen.is_closed or is_closed
        unchanged = now - seen.since
        if not stat.st_size:
            return unchanged >= EMPTY and seen.looks >= self.pace.looks
        if seen.is_closed:
            return True
        if unchanged < self.pace.settle or seen.looks < self.pace.looks:
            return False
        return unchanged >= HELD_MOST or not (self._has_leases and is_held(path))

    def _see(self, path: str, stat: os.stat_result) -> _Seen:
        seen = self._before.get(path)
        if seen and seen.same(stat):
            seen.looks += 1
        else:
            seen = _Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino, self._clock())
        self._now[path] = seen
        return seen


def is_held(path: str) -> bool:
    """Tell whether a program has a file open for writing; ``False`` when the kernel won't say.

    The lease lasts some microseconds. A program that opens the file just then waits for its end
    and we are sent a signal: SIGURG, which is ignored, as the usual SIGIO would kill us.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False
