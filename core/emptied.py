"""Batch folders that we emptied: removed once nothing has happened in them for a moment.

Only folders that we took a file from, in this run, and only by ``rmdir``, which refuses a folder
that holds anything. What the files were is not known here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOMENT = 60.0  # seconds a folder must lie empty and untouched


@dataclass(frozen=True, slots=True)
class _Lying:
    """An empty folder as it was seen first."""

    inode: int
    mtime_ns: int
    since: float


class Emptied:
    """Remembers which folders we took files from.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._folders: dict[str, _Lying | None] = {}

    def note(self, path: str) -> None:
        """Note that we took a file from a folder."""
        self._folders[path] = None

    def forget_the_rest(self, present: set[str]) -> None:
        """Forget the folders that are gone."""
        for path in self._folders.keys() - present:
            del self._folders[path]

    def look(self, path: str, is_empty: bool) -> bool:
        """Take in what a scan saw of a folder; return whether the folder was removed now."""
        if path not in self._folders:
            return False
        if not is_empty:
            del self._folders[path]  # somebody uses it; from here on it is theirs
            return False
        try:
            return self._lies(path)
        except OSError:
            return False  # gone, or not ours to remove

    def _lies(self, path: str) -> bool:
        stat, now = Path(path).stat(), self._clock()
        lying = self._folders[path]
        if not lying or (lying.inode, lying.mtime_ns) != (stat.st_ino, stat.st_mtime_ns):
            self._folders[path] = _Lying(stat.st_ino, stat.st_mtime_ns, now)
            return False
        if now - lying.since < MOMENT:
            return False
        del self._folders[path]
        Path(path).rmdir()
        self.note(str(Path(path).parent))
        return True
