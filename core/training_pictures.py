"""Whether a folder of pictures is still the one that a training began with.

One hash over the bytes of pictures and captions, whatever they are called. It decodes nothing:
what is in the pictures is :mod:`training.dataset`'s.
"""

import hashlib
from pathlib import Path

from models import store

_CAPTION = ".txt"


def fingerprint(folder: Path) -> str:
    """Return the hash of a folder's pictures and captions.

    Raises:
        TrainingError: there is no such folder, or no picture in it.
        OSError: one cannot be read.
    """
    from training.dataset import picture_set, pixels  # Pillow
    from training.errors import TrainingError

    files = picture_set.picture_files(folder)
    if not files:
        known = ", ".join(pixels.SUFFIXES)
        raise TrainingError("there are no pictures", path=folder, fix=f"Put some there: {known}")
    lines = sorted(f"{store.sha256(path)} {_caption(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _caption(picture: Path) -> str:
    path = picture.with_suffix(_CAPTION)
    return store.sha256(path) if path.is_file() else ""
