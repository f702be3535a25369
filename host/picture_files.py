"""Picture files of any kind that Pillow reads, to pixels and masks as ComfyUI's LoadImage has them.

Pixels are float32, shape (batch, height, width, 3), 0 to 1; masks float32, shape (batch, height,
width), 1 where the picture is transparent. Does not know where a file comes from.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError

from host.errors import RenderError
from host.images import Pixels

Mask = npt.NDArray[np.float32]

NO_MASK = (64, 64)
"""Height and width of the empty mask of a picture without transparency; ComfyUI's."""

_BROKEN = (
    OSError,
    RuntimeError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on files that are no picture, or a broken one."""


def load(path: Path) -> tuple[Pixels, Mask]:
    """Return the frames of a picture, upright, and their masks.

    Frames of another size than the first are left out; of a stereo photo (MPO) only the first is
    taken. A picture without transparency has one empty mask of :data:`NO_MASK` per frame. A file
    that is cut short gives what is there.

    Raises:
        RenderError: the file is no picture.
    """
    try:
        with _open(path) as opened:
            only_first = opened.format == "MPO"
            frames = [_upright(one) for one in ImageSequence.Iterator(opened)]
        pairs = [(_rgb(one), _transparency(one)) for one in frames]
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    size = pairs[0][0].shape
    pairs = [pair for pair in pairs if pair[0].shape == size][: 1 if only_first else None]
    return np.stack([pixels for pixels, _ in pairs]), _masks([mask for _, mask in pairs], size)


def load_channel(path: Path, channel: str) -> Mask:
    """Return one channel of a picture's first frame as a mask, shape (1, height, width).

    Args:
        path: the picture.
        channel: ``red``, ``green``, ``blue``, or ``alpha``, of which 1 then means transparent.

    Raises:
        RenderError: the file is no picture.
    """
    try:
        with _open(path) as opened:
            picture = _upright(opened)
        if picture.getbands() != ("R", "G", "B", "A"):
            picture = _eight_bits(picture).convert("RGBA")
        values = _unit(picture.getchannel(channel[0].upper()))
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    return (1 - values if channel == "alpha" else values)[None]


def _open(path: Path) -> Image.Image:
    return _patient(lambda: Image.open(path))


def _upright(picture: Image.Image) -> Image.Image:
    """Return a copy, turned as its EXIF data say; the next frame will not change it."""
    return _patient(lambda: ImageOps.exif_transpose(picture))


def _patient(read: Callable[[], Image.Image]) -> Image.Image:
    """Read; once more, content with half a picture, if it fails: a cut file is still of use."""
    try:
        return read()
    except (OSError, ValueError):
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            return read()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _eight_bits(picture: Image.Image) -> Image.Image:
    # ComfyUI's factor: 16 bits come as mode I, and what is above 255 then is white.
    return picture.point(lambda value: value * (1 / 255)) if picture.mode == "I" else picture


def _rgb(picture: Image.Image) -> Pixels:
    return _unit(_eight_bits(picture).convert("RGB"))


def _unit(picture: Image.Image) -> npt.NDArray[np.float32]:
    return np.asarray(picture).astype(np.float32) / np.float32(255)


def _transparency(picture: Image.Image) -> Mask | None:
    if "A" in picture.getbands():
        return 1 - _unit(picture.getchannel("A"))
    if picture.mode == "P" and "transparency" in picture.info:
        return 1 - _unit(picture.convert("RGBA").getchannel("A"))
    return None


def _masks(masks: list[Mask | None], size: tuple[int, ...]) -> Mask:
    """Stack the masks; where only some frames have one, the others get an empty one of its size."""
    empty = np.zeros(NO_MASK if not any(mask is not None for mask in masks) else size[:2])
    return np.stack([empty if mask is None else mask for mask in masks]).astype(np.float32)


def _unreadable(path: Path, error: Exception) -> RenderError:
    return RenderError(
        "the picture cannot be read",
        path=path,
        why=_reason(error),
        fix="Upload it again, or choose another",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is of no kind that is known here"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
