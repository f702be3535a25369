"""What the kernel tells of a drop folder: which files were closed or moved in, and when to look.

Hints, not truth: the kernel's queue overflows at bursts, a watch follows a folder that was renamed
away, and drives of another system send nothing (microsoft/WSL#4739). So every scan asks anew for a
watch on each folder it visits, which costs a microsecond and heals all of that, and a drop folder
without any hint still works, by polling. What becomes of a file is not known here.
"""

import errno
import logging
import os
import select
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from core import inotify
from core.inotify import Inotify
from models.file_system import REMOTE, file_system

logger = logging.getLogger(__name__)

MOST = 1 << 14  # closed names kept between two scans; files beyond it settle by time
_USED_UP = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_RAISE = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"


class Hints:
    """Listens to one drop folder, where that is possible.

    Args:
        inbox: the folder; its mount decides whether events are expected at all.
        mounts: the mount table, for tests; the system's by default.
    """

    def __init__(self, inbox: Path, mounts: str | None = None) -> None:
        self.kind = file_system(inbox, mounts)
        self._lock = threading.RLock()  # a signal's handler may close us while we wait
        self._closing = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._inotify: Inotify | None = None
        self._is_open = True
        self._folders: dict[int, str] = {}
        self._visited: set[int] = set()
        self._closed: set[str] = set()
        if self.is_remote:
            logger.info("%s lies on %s, where no events come: it is polled", inbox, self.kind)
        else:
            self._start()

    @property
    def is_remote(self) -> bool:
        """Whether the folder lies on a drive of another system."""
        return self.kind in REMOTE

    @property
    def come(self) -> bool:
        """Whether the kernel tells of changes."""
        return self._inotify is not None

    def watch(self, folder: str) -> None:
        """Listen to a folder, before it is scanned, so that nothing falls between."""
        with self._lock:
            if self._inotify is None:
                return
            try:
                watch = self._inotify.add(folder)
            except OSError as error:
                if error.errno in _USED_UP:
                    self._give_up(error)
                return  # gone or unreadable: the scan says so
            self._folders[watch] = folder
            self._visited.add(watch)

    def forget_the_rest(self) -> None:
        """Stop listening to folders that were not named since the last call."""
        with self._lock:
            for watch in self._folders.keys() - self._visited:
                del self._folders[watch]
                if self._inotify:
                    self._inotify.remove(watch)
            self._visited.clear()

    def take(self) -> set[str]:
        """Return the paths that were closed or moved in since the last call."""
        with self._lock:
            self._read()
        closed, self._closed = self._closed, set()
        return closed

    def wait(self, timeout: float) -> bool:
        """Wait until something happens, at most ``timeout`` seconds; return whether it did."""
        with self._lock:
            if not self._is_open:
                return True
            if not self._poll.poll(max(0.0, timeout) * 1000):
                return False
            self._read()
            return True

    def close(self) -> None:
        """Wake who waits, and listen no more."""
        if not self._closing.acquire(blocking=False):
            return
        self._is_open = False
        os.eventfd_write(self._bell, 1)
        with self._lock:
            self._poll.unregister(self._bell)
            os.close(self._bell)
            self._end()

    def _start(self) -> None:
        try:
            self._inotify = Inotify()
            self._poll.register(self._inotify, select.POLLIN)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning(
            "no events for the drop folder (%s): it is polled instead; for quick pick-up: %s",
            error.strerror,
            _RAISE,
        )
        self._end()

    def _end(self) -> None:
        if self._inotify:
            self._poll.unregister(self._inotify)
            self._inotify.close()
        self._inotify = None
        self._folders.clear()
        self._visited.clear()

    def _read(self) -> None:
        while self._inotify and (events := self._inotify.read()):
            for watch, mask, name in events:
                if mask & inotify.IGNORED:
                    self._folders.pop(watch, None)
                elif mask & (inotify.CLOSE_WRITE | inotify.MOVED_TO):
                    self._note(watch, name)

    def _note(self, watch: int, name: str) -> None:
        folder = self._folders.get(watch)
        if folder is not None and len(self._closed) < MOST:
            self._closed.add(f"{folder}/{name}")


def events_come(folder: Path, wait: float) -> bool:
    """Try whether an event comes for a file made in ``folder``, within ``wait`` seconds.

    The file is hidden in a hidden sub-folder, which a director that watches leaves alone.

    Raises:
        OSError: nothing can be watched or written there.
    """
    hidden = tempfile.mkdtemp(prefix=".vulcan-ear-", dir=folder)
    try:
        return _is_heard(hidden, wait)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _is_heard(hidden: str, wait: float) -> bool:
    ear = Inotify()
    try:
        ear.add(hidden)
        Path(hidden, ".sound").write_bytes(b"")
        poll = select.poll()
        poll.register(ear, select.POLLIN)
        with suppress(InterruptedError):
            return bool(poll.poll(wait * 1000)) and any(event.name for event in ear.read())
        return False
    finally:
        ear.close()
