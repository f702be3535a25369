"""The micro Flux's five files: where they lie in the repository, and in a models folder.

They are trained (``python -m training.micro``) and shipped as plain files, so they are copied, not
made; a copy that is there already and whole is left alone.
"""

import logging
from dataclasses import astuple, dataclass
from pathlib import Path

from models import store
from models.micro import spec
from models.store import Folder

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent / "trained"
"""The files as they come with the repository, in the layout of a models folder."""


@dataclass(frozen=True, slots=True)
class MicroSet:
    """Where the five files of a micro set lie."""

    unet: Path
    clip_l: Path
    t5: Path
    vae: Path
    lora: Path


def place(models_dir: Path) -> MicroSet:
    """Where the set's files lie, or will, below a models folder."""
    return MicroSet(
        unet=models_dir / Folder.UNET / spec.UNET_FILE,
        clip_l=models_dir / Folder.TEXT_ENCODERS / spec.CLIP_FILE,
        t5=models_dir / Folder.TEXT_ENCODERS / spec.T5_FILE,
        vae=models_dir / Folder.VAE / spec.VAE_FILE,
        lora=models_dir / Folder.LORAS / spec.LORA_FILE,
    )


def lay_out(models_dir: Path) -> MicroSet:
    """Copy, atomically, those files of the set that are missing or differ; return all.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = place(models_dir)
    for shipped, path in zip(astuple(place(SHIPPED)), astuple(files), strict=True):
        content = shipped.read_bytes()
        if path.is_file() and path.read_bytes() == content:
            continue
        store.atomic_write(path, content)
        logger.info("laid out %s (%.1f MB)", path, len(content) / 1e6)
    return files
