"""The drop folder: every prompt file claimed once, none before its writer is done.

Events are hints, the scan is the truth: inotify overflows at bursts, follows a folder that was
renamed away, and says nothing on network file systems. A file is taken when a *closed* or
*moved* event named it, or when size, mtime and inode have not changed for ``SETTLE`` seconds;
taking it is one rename into ``.claimed``, which only one of several claimants can win.

::

    inbox/a.txt -> inbox/.claimed/<ns>-a.txt -> inbox/done/a.txt
                                             -> inbox/failed/a.txt + a.txt.error.md

All of it lies inside the watched tree: watchdog holds an event for a file that *leaves* the
tree for half a second, and everything behind it. What is in a prompt file is not known here.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from models.file_system import REMOTE, file_system

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".txt", ".md", ".toml", ".json", ".yaml", ".yml"})
SETTLE = 1.0  # seconds without a change before an unannounced file is taken
GATHER = 0.02  # seconds to wait for the rest of a burst
SCAN_EVERY = 5.0  # seconds between scans when no event comes
POLL_EVERY = 0.5  # the same while a file settles, or where no events exist at all
CLAIMED, DONE, FAILED = ".claimed", "done", "failed"


@dataclass(frozen=True, slots=True)
class Claim:
    """A prompt file that is ours now.

    Attributes:
        name: unique name in ``.claimed``; job ids derive from it.
        file: the name the user gave it.
        path: where it lies now.
        batch: sub-folder of the inbox it was dropped in, with slashes; empty for the inbox.
        image: the picture that lay beside it under the same stem, where it lies now.
    """

    name: str
    file: str
    path: Path
    batch: str = ""
    image: Path | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file looked like, and since when."""

    size: int
    mtime_ns: int
    inode: int
    since: float

    def same(self, other: os.stat_result) -> bool:
        return (self.size, self.mtime_ns, self.inode) == (
            other.st_size,
            other.st_mtime_ns,
            other.st_ino,
        )


class DropFolder:
    """Watches one folder.

    Args:
        inbox: made if missing, again whenever it vanishes.
        clock: seconds, monotonic.
        stamp: nanoseconds since the epoch, for the names of claims.
    """

    def __init__(self, inbox: Path, clock: Callable[[], float], stamp: Callable[[], int]) -> None:
        self.inbox = inbox
        self._clock, self._stamp = clock, stamp
        self._hints = _Hints()
        self._seen: dict[str, _Seen] = {}
        self._ignored: set[str] = set()
        self._stopped = threading.Event()
        self._claimed_now = 0
        self._make_folders()
        self._has_events = file_system(inbox) not in REMOTE
        self._observer = Observer()
        self._watched_inode = 0
        if self._has_events:
            self._observer.start()
            self._watch()

    def close(self) -> None:
        """Stop watching; files that are claimed stay claimed."""
        self._stopped.set()
        self._hints.wake.set()
        if self._has_events:
            self._observer.stop()
            self._observer.join()

    def left_over(self) -> list[Claim]:
        """Return the claims an earlier run did not finish, oldest first."""
        folder = self.inbox / CLAIMED
        return [_claim(entry) for entry in sorted(folder.iterdir()) if entry.is_file()]

    def claimed(self, name: str) -> Claim | None:
        """Return a claim by name; ``None`` when its file is no longer there."""
        path = self.inbox / CLAIMED / name
        return _claim(path) if path.is_file() else None

    def claims(self, until_empty: bool = False) -> Iterator[Claim]:
        """Yield prompt files as they become ready.

        Args:
            until_empty: stop once no file is left to wait for.
        """
        while not self._stopped.is_set():
            settling = False
            for name, ready in self._scan():
                if not ready:
                    settling = True
                elif claim := self._take(name):
                    yield claim
            if until_empty and not settling:
                return
            self._wait(settling)

    def batches(self, until_empty: bool = False) -> Iterator[list[Claim]]:
        for claim in self.claims(until_empty):
            yield [claim]

    def picture(self, claim: Claim, name: str) -> Path | None:
        return None

    def finish(self, claim: Claim, error: str = "") -> Path:
        """Move a claimed file to where it stays.

        Args:
            claim: the file.
            error: Markdown for the ``.error.md`` beside it; empty for one that went well.
        """
        folder = self.inbox / (FAILED if error else DONE)
        folder.mkdir(parents=True, exist_ok=True)
        target = _free(folder / claim.file)
        if error:
            target.with_name(target.name + ".error.md").write_text(error, encoding="utf-8")
        claim.path.rename(target)
        return target

    def _scan(self) -> Iterator[tuple[str, bool]]:
        """Yield each prompt file's name and whether its writer is done."""
        self._look_after_folder()
        closed = self._hints.take()
        present = dict(self._files())
        for name in [name for name in self._seen if name not in present]:
            del self._seen[name]
        for name, stat in present.items():
            yield name, name in closed or self._settled(name, stat)

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self.inbox) as entries:
            for entry in entries:
                if self._wanted(entry):
                    try:
                        yield entry.name, entry.stat()
                    except FileNotFoundError:
                        continue  # gone between listing and looking

    def _wanted(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") or not entry.is_file():
            return False
        if Path(entry.name).suffix.lower() in SUFFIXES:
            return True
        if entry.name not in self._ignored:
            self._ignored.add(entry.name)
            logger.info("left alone: %s is no prompt file (%s)", entry.name, " ".join(SUFFIXES))
        return False

    def _settled(self, name: str, stat: os.stat_result) -> bool:
        seen = self._seen.get(name)
        if seen is None or not seen.same(stat):
            self._seen[name] = _Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino, self._clock())
            return False
        return self._clock() - seen.since >= SETTLE

    def _take(self, name: str) -> Claim | None:
        self._claimed_now += 1
        unique = f"{self._stamp():020}-{self._claimed_now:06}-{name}"
        target = self.inbox / CLAIMED / unique
        try:
            (self.inbox / name).rename(target)
        except FileNotFoundError:
            return None  # somebody took it back, or took it first
        self._seen.pop(name, None)
        return _claim(target)

    def _wait(self, settling: bool) -> None:
        timeout = SCAN_EVERY if self._has_events and not settling else POLL_EVERY
        if self._hints.wake.wait(timeout):
            self._hints.wake.clear()
            self._stopped.wait(GATHER)

    def _make_folders(self) -> None:
        for name in (CLAIMED, DONE, FAILED):
            (self.inbox / name).mkdir(parents=True, exist_ok=True)

    def _look_after_folder(self) -> None:
        """Watch again when the folder is another one than the one watched."""
        if not (self.inbox / CLAIMED).is_dir():
            self._make_folders()
        if self._has_events and self.inbox.stat().st_ino != self._watched_inode:
            self._watch()

    def _watch(self) -> None:
        self._observer.unschedule_all()
        self._observer.schedule(self._hints, str(self.inbox), recursive=True)
        self._watched_inode = self.inbox.stat().st_ino


class _Hints(FileSystemEventHandler):
    """Names that events called complete, and a bell for any event at all."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._lock = threading.Lock()
        self._closed: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note what was closed or moved in; opened and read files say nothing."""
        if event.event_type in ("opened", "closed_no_write"):
            return
        if event.event_type in ("closed", "moved"):
            path = os.fsdecode(event.dest_path or event.src_path)
            with self._lock:
                self._closed.add(Path(path).name)
        self.wake.set()

    def take(self) -> set[str]:
        with self._lock:
            closed, self._closed = self._closed, set()
        return closed


def _claim(path: Path) -> Claim:
    _, _, file = path.name.split("-", 2)
    return Claim(path.name, file, path)


def _free(path: Path) -> Path:
    """Return ``path``, or with -2, -3 ... before its suffix where the name is taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
