"""Putting a finished prompt file back among the claimed ones, for a job that is to be made again.

Without it ``retry`` would make the picture, and the file would stay in ``failed/`` with a complaint
that is no longer true.
"""

import logging
from pathlib import Path

from core.drop_folder import CLAIMED

logger = logging.getLogger(__name__)


def reopen(inbox: Path, claim: str, place: str) -> None:
    """Claim a file again under its old name; one that is gone, or was changed, is left alone.

    Args:
        inbox: the drop folder.
        claim: the claim's name.
        place: where its file was put when its jobs had ended; empty when it never was.
    """
    put, claimed = Path(place), inbox / CLAIMED / claim
    if not place or not put.is_file() or claimed.exists():
        return
    try:
        claimed.parent.mkdir(parents=True, exist_ok=True)
        put.rename(claimed)
        put.with_name(put.name + ".error.md").unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s stays where it is: %s", put, error)
