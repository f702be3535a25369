"""The drop folder: every prompt file claimed once, none before its writer is done.

Events are hints, the scan is the truth (:mod:`core.drop_hints` says why). A file is taken when an
event named it closed or moved in, or when it has not changed for a while (:mod:`core.settling`);
taking it is one rename into ``.claimed``, which only one of several claimants can win. A picture
with the same stem goes with it, and sub-folders are batches:

::

    inbox/night/pose.txt, pose.png -> inbox/.claimed/night/<stamp>-<n>.png-pose.txt, ...-pose.png
        -> inbox/done/night/pose.txt, pose.png
        -> inbox/failed/night/pose.txt, pose.png, pose.txt.error.md

What is in a prompt file is not known here.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core import named_picture
from core.claim import CLAIMED, DONE, FAILED, Claim, clean, stem
from core.claimed_folder import ClaimedFolder, Found
from core.drop_hints import Hints
from core.drop_scan import Entry, Listing, listings
from core.emptied import Emptied
from core.notices import Notices
from core.resting_place import RestingPlace
from core.settling import REMOTE_DRIVE, WITH_EVENTS, WITHOUT_EVENTS, Pace, Settling

__all__ = ["CLAIMED", "DONE", "FAILED", "Claim", "DropFolder"]

logger = logging.getLogger(__name__)

QUIET, GATHER = 0.008, 0.05  # seconds: a burst is over after a pause of the first, or the second
RETRY = 10.0  # seconds a file that cannot be moved is tried often; a Windows program may have it
GONE = 2.0  # seconds until an inbox that vanished is made anew: somebody may be replacing it
# A scan is followed by a pause at least so many times as long: while a file settles, while polling
# for the next one, and where events will tell of it.
PAUSE_WAITING, PAUSE_POLLING, PAUSE_IDLE = 2, 20, 200


class DropFolder:
    """Watches one folder.

    Args:
        inbox: made if missing, again whenever it vanishes.
        clock: seconds, monotonic.
        stamp: nanoseconds since the epoch, for the names of claims.
        mounts: the mount table, for tests; the system's by default.

    Raises:
        OSError: the folder cannot be made, read or written.
    """

    def __init__(
        self,
        inbox: Path,
        clock: Callable[[], float],
        stamp: Callable[[], int],
        mounts: str | None = None,
    ) -> None:
        self.inbox = inbox
        self._clock = clock
        self._is_stopped = False
        self._claimed = ClaimedFolder(inbox, stamp)
        self._resting = RestingPlace(inbox)
        self._notices, self._emptied = Notices(clock), Emptied(clock)
        self._gone_since: float | None = None
        self._scan_took = 0.0
        self._make_usable()
        self._hints = Hints(inbox, mounts)
        self._settling = Settling(self._pace, clock, has_leases=not self._hints.is_remote)
        # From now on events wait for the first scan, so that it can tell who is done.
        for _ in listings(str(inbox), self._hints.watch, self._notices):
            pass

    def close(self) -> None:
        """Stop watching; files that are claimed stay claimed."""
        self._is_stopped = True
        self._hints.close()

    def left_over(self) -> list[Claim]:
        """Return the claims an earlier run did not finish, oldest first."""
        return self._claimed.left_over()

    def claimed(self, name: str) -> Claim | None:
        """Return a claim by name; ``None`` when its file is no longer there."""
        return self._claimed.find(name)

    def picture(self, claim: Claim, name: str) -> Path | None:
        """Return where the picture lies that a claimed file names; see :mod:`named_picture`."""
        return named_picture.find(self.inbox, claim, name)

    def finish(self, claim: Claim, error: str = "") -> Path:
        """Move a claimed file, and its picture, to where it stays; repeating it does no harm.

        Args:
            claim: the file.
            error: Markdown for the ``.error.md`` beside it; empty for one that went well.

        Raises:
            OSError: it cannot be moved now; it stays claimed.
        """
        place = self._resting.put(claim, error)
        self._claimed.tidy(claim.path.parent)
        return place

    def claims(self, until_empty: bool = False) -> Iterator[Claim]:
        """Yield prompt files one by one; see :meth:`batches`."""
        for claims in self.batches(until_empty):
            yield from claims

    def batches(self, until_empty: bool = False, at_most: int = 500) -> Iterator[list[Claim]]:
        """Yield prompt files as they become ready, oldest first.

        Args:
            until_empty: stop once no file is left to wait for.
            at_most: so many at a time; never none.
        """
        while not self._is_stopped:
            found, is_waiting = self._look()
            for start in range(0, len(found), at_most):
                claims, is_stuck = self._take(found[start : start + at_most])
                is_waiting = is_waiting or is_stuck
                if claims:
                    yield claims
                if self._is_stopped:
                    return
            if until_empty and not is_waiting:
                return
            self._wait(is_waiting)

    # Looking

    @property
    def _pace(self) -> Pace:
        if self._hints.is_remote:
            return REMOTE_DRIVE
        return WITH_EVENTS if self._hints.come else WITHOUT_EVENTS

    def _look(self) -> tuple[list[Found], bool]:
        """Scan; return what is ready, oldest first, and whether anything may soon be."""
        started = self._clock()
        self._notices.next_round()
        self._settling.next_round()
        self._settling.pace = self._pace  # events may have ended for want of watches
        closed, found = self._hints.take(), list[Found]()
        try:
            self._look_after_folder()
            is_waiting = self._gone_since is not None
            for listing in self._listings():
                for one in self._sift(listing, closed):
                    is_waiting = is_waiting or one is None
                    found += [one] if one else []
        except OSError as error:
            is_waiting = self._vanished(error)
        self._scan_took = self._clock() - started
        return sorted(found, key=lambda one: (one.arrived, one.name)), is_waiting

    def _listings(self) -> Iterator[Listing]:
        """Yield all folders; forget those that are no more."""
        present = set[str]()
        for listing in listings(str(self.inbox), self._hints.watch, self._notices):
            present.add(listing.path)
            if not listing.batch or not self._emptied.look(listing.path, listing.is_empty):
                yield listing
        self._hints.forget_the_rest()
        self._emptied.forget_the_rest(present)

    def _sift(self, listing: Listing, closed: set[str]) -> Iterator[Found | None]:
        """Yield each prompt file of a folder, or ``None`` for one whose writer is not done."""
        owners = self._owners(listing) if listing.images else {}
        for entry in listing.prompts:
            image = owners.get(entry.name)
            try:
                stat = entry.stat()
                is_done = self._is_done(entry, closed, keep=image is not None)
                if image and not self._is_done(image, closed, keep=True):
                    is_done = False
            except FileNotFoundError:
                continue  # gone between listing and looking
            except OSError as error:
                self._tell_stuck(entry.path, error)
                continue
            name = image.name if image else ""
            yield Found(listing.batch, entry.name, stat.st_ctime_ns, name) if is_done else None

    def _owners(self, listing: Listing) -> dict[str, Entry]:
        """Return the picture of each prompt file that has one; two files cannot share it."""
        owners: dict[str, Entry] = {}
        images = dict(listing.images)
        for name in sorted(entry.name for entry in listing.prompts):
            if stem(name) in listing.images:
                if image := images.pop(stem(name), None):
                    owners[name] = image
                else:
                    why = "%s goes without the picture that another file of its name takes"
                    self._notices.tell(f"{listing.path}/{name}", why, clean(name))
        return owners

    def _is_done(self, entry: Entry, closed: set[str], keep: bool) -> bool:
        return self._settling.is_done(entry.path, entry.stat(), entry.path in closed, keep)

    # Taking

    def _take(self, found: list[Found]) -> tuple[list[Claim], bool]:
        """Claim files; return also whether one that cannot be moved should be tried again soon."""
        claims, is_stuck = list[Claim](), False
        for one in found:
            folder = f"{self.inbox}/{one.batch}" if one.batch else str(self.inbox)
            try:
                claim = self._claimed.take(one)
            except OSError as error:
                is_stuck = self._tell_stuck(f"{folder}/{one.name}", error) or is_stuck
                continue
            if claim:
                claims.append(claim)
                if one.batch:
                    self._emptied.note(folder)
        return claims, is_stuck

    def _tell_stuck(self, path: str, error: OSError) -> bool:
        """Say once that a file cannot be moved; return whether that is fresh."""
        why = "%s cannot be claimed yet: %s; it is tried again"
        self._notices.tell(path, why, clean(path), error.strerror, level=logging.WARNING)
        since = self._notices.since(path)
        return since is not None and self._clock() - since < RETRY

    # Waiting

    def _wait(self, is_waiting: bool) -> None:
        pace = self._pace
        if is_waiting:
            pause = max(pace.poll, PAUSE_WAITING * self._scan_took)
        else:
            times = PAUSE_IDLE if self._hints.come else PAUSE_POLLING
            pause = max(pace.scan, times * self._scan_took)
        if self._hints.wait(pause):
            until = time.monotonic() + GATHER
            while not self._is_stopped and time.monotonic() < until and self._hints.wait(QUIET):
                pass

    # The folder itself

    def _make_usable(self) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made, or the inbox cannot be read or written.
        """
        try:
            self._make_folders()
            if not os.access(self.inbox, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
                raise PermissionError(13, "it cannot be read and written")
        except OSError as error:
            raise OSError(
                f"The inbox {self.inbox} cannot be used: {error.strerror} "
                f"({error.filename or self.inbox}); choose another with --inbox or folders.inbox"
            ) from error

    def _make_folders(self) -> None:
        for name in (CLAIMED, DONE, FAILED):
            (self.inbox / name).mkdir(parents=True, exist_ok=True)

    def _look_after_folder(self) -> None:
        """Make the folders anew if they are gone for good, and not being removed or replaced."""
        if (self.inbox / CLAIMED).is_dir():
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = self._clock()
        elif self._clock() - self._gone_since >= GONE:
            self._make_folders()
            self._gone_since = None
            logger.warning("%s was gone and has been made anew", self.inbox)

    def _vanished(self, error: OSError) -> bool:
        """Say that the inbox cannot be read; return whether it is worth a look soon."""
        if not isinstance(error, FileNotFoundError) or self._gone_since is None:
            why = "the inbox %s cannot be read: %s; it is tried again"
            inbox = str(self.inbox)
            self._notices.tell(inbox, why, inbox, error.strerror, level=logging.ERROR)
        return isinstance(error, FileNotFoundError)
