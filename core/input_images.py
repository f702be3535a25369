"""Pictures that jobs start from, kept under their content's name for as long as they may be needed.

A prompt file and its picture move on when they are done; a job that is tried again, or rendered
again next month, still finds its own copy here.
"""

import hashlib
import re
from pathlib import Path

from bridge.request import InputImage
from models import store

FOLDER = "input"
MAX_BYTES = 100 * 2**20  # what a host accepts at most (comfyui.md 1)
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"RIFF": ".webp",
}


class ImageError(ValueError):
    """A picture that no job can start from; the message says why."""


def name_on_host(image: InputImage) -> str:
    """Return the name a picture is given to hosts under: the same for the same content."""
    return f"vulcan-{image.sha256[:16]}{Path(image.path or image.name).suffix.lower()}"


class InputImages:
    """Keeps pictures in a folder.

    Args:
        folder: made when the first comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, path: Path, name: str = "") -> InputImage:
        """Copy a picture here, once per content.

        Args:
            path: where it lies now.
            name: what its owner calls it, where that is not the path's own name.

        Raises:
            ImageError: no PNG, JPEG or WebP, empty, or too large.
            OSError: not readable, disk full.
        """
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{name or path.name} has {size >> 20} MB; hosts take 100 MB at most")
        content = path.read_bytes()
        suffix = next((s for start, s in _SIGNATURES.items() if content.startswith(start)), "")
        if not suffix:
            raise ImageError(f"{name or path.name} is no PNG, JPEG or WebP picture")
        sha256 = hashlib.sha256(content).hexdigest()
        kept = self._folder / f"{sha256}{suffix}"
        if not kept.is_file() or kept.stat().st_size != size:
            store.atomic_write(kept, content)
        return InputImage(name or path.name, str(kept), sha256)

    def prune(self, needed: set[str]) -> int:
        """Delete the pictures that no job needs, by sha256; return how many."""
        if not self._folder.is_dir():
            return 0
        ours = [path for path in self._folder.iterdir() if re.fullmatch("[0-9a-f]{64}", path.stem)]
        gone = [path for path in ours if path.stem not in needed]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)
