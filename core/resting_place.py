"""``done/`` and ``failed/``: where prompt files and their pictures stay.

Two files cannot be renamed at once, and a kill may come between. So a picture is first renamed to
say where it goes, then the prompt file moves, then the picture; from what is there afterwards
:meth:`core.claimed_folder.ClaimedFolder.left_over` knows which of the three was the last. Whether
a file is good or bad is not known here.
"""

import logging
import os
import threading
from pathlib import Path

from core.claim import COMPLAINT, DONE, FAILED, Claim, ClaimName, split
from core.free_name import free_stem
from models.store import atomic_write

logger = logging.getLogger(__name__)


class RestingPlace:
    """The two folders of one drop folder.

    Args:
        inbox: the drop folder.
    """

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()  # a free name is free for one

    def put(self, claim: Claim, error: str) -> Path:
        """Move a claimed file and its picture to where they stay; repeating it does no harm.

        Args:
            claim: the file.
            error: Markdown for the complaint beside it; empty for one that went well.

        Returns:
            Where the prompt file lies.

        Raises:
            OSError: it cannot be moved now; it stays claimed.
        """
        with self._lock:
            kind = FAILED if error else DONE
            folder = _folder(self._inbox / kind, claim.batch)
            if not os.path.lexists(claim.path):
                return folder / claim.file  # finished before, or taken away
            target = _target(folder, claim)
            if error:
                _complain(target, error)
            _move_both(claim, kind, target)
            return target


def _folder(top: Path, batch: str) -> Path:
    """Make a batch's folder; where a file has its name, the batch's files go to the top."""
    try:
        (top / batch).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        top.mkdir(parents=True, exist_ok=True)
        return top
    return top / batch


def _target(folder: Path, claim: Claim) -> Path:
    suffix = split(claim.file)[1]
    image = [claim.image.suffix] if claim.image else []
    return folder / (free_stem(folder, split(claim.file)[0], [suffix, *image]) + suffix)


def _complain(target: Path, error: str) -> None:
    """Write why; on a full disk the log has it, as the file must be moved all the same."""
    complaint = target.with_name(target.name + COMPLAINT)
    try:
        atomic_write(complaint, error.encode("utf-8", "replace"))
    except OSError as trouble:
        logger.error("%s could not be written (%s); it would say: %s", complaint, trouble, error)  # noqa: TRY400 - the reason is in the line; a traceback says nothing more


def _move_both(claim: Claim, kind: str, target: Path) -> None:
    name = ClaimName.parse(claim.path.name)
    if claim.image is None or name is None or not os.path.lexists(claim.image):
        claim.path.rename(target)
        return
    place = target.with_suffix(claim.image.suffix)
    leaving = claim.image.with_name(name.leaving(kind, place.name))
    claim.image.rename(leaving)
    try:
        claim.path.rename(target)
    except OSError:
        leaving.rename(claim.image)
        raise
    leaving.rename(place)
