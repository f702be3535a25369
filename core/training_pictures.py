"""A training's pictures: whether they are still those it began with, and fit to be trained on.

The first is one hash over the bytes of pictures and captions, whatever they are called. The second
is :mod:`training.dataset.check`'s, of which the run folder gets the page.
"""

import hashlib
import logging
from pathlib import Path

from models import store
from training.errors import TrainingError
from training.run_folder import RunFolder
from training.run_plan import Assets, Plan

logger = logging.getLogger(__name__)

PAGE = "dataset.html"  # in the run folder
_TOLD = 3  # errors in the sentence; the page has them all

_CAPTION = ".txt"


def fingerprint(folder: Path) -> str:
    """Return the hash of a folder's pictures and captions.

    Raises:
        TrainingError: there is no such folder, or no picture in it.
        OSError: one cannot be read.
    """
    from training.dataset import picture_set, pixels  # Pillow

    files = picture_set.picture_files(folder)
    if not files:
        known = ", ".join(pixels.SUFFIXES)
        raise TrainingError("there are no pictures", path=folder, fix=f"Put some there: {known}")
    lines = sorted(f"{store.sha256(path)} {_caption(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _caption(picture: Path) -> str:
    path = picture.with_suffix(_CAPTION)
    return store.sha256(path) if path.is_file() else ""


def validate(run: RunFolder, plan: Plan, assets: Assets) -> str:
    """Check the pictures and write the page about them.

    Returns:
        What was found, in a line.

    Raises:
        TrainingError: they cannot be trained on as they are.
        OSError: the disk refuses.
    """
    from training.dataset import check, page, token_count  # OpenCV

    t5, clip_l = (path if path.is_file() else None for path in (assets.t5, assets.clip_l))
    counters = token_count.find(t5, clip_l, assets.models)
    report = check.check(assets.pictures, plan.trigger, plan.recipe, plan.preset, counters=counters)
    path = run.path / PAGE
    store.atomic_write(path, page.write(report).encode())
    for finding in (*report.errors, *report.warnings):
        logger.warning("%s (%s)", finding.text, finding.code)
    if report.errors:
        more = len(report.errors) - _TOLD
        raise TrainingError(
            "the pictures cannot be trained on as they are",
            path=assets.pictures,
            why="; ".join(finding.text for finding in report.errors[:_TOLD])
            + (f"; and {more} more" if more > 0 else ""),
            fix=f"Look at {path}; `director.py dataset prepare` makes a cleaned copy",
        )
    told = f"{len(report.pictures.items)} pictures, {len(report.warnings)} warnings"
    return f"{told}: see {path}" if report.warnings else told
