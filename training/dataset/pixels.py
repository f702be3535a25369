"""A picture file as training sees it: upright, RGB in sRGB, on white where it was transparent.

Of an animated picture the first frame counts. What is too large to hold in memory is refused
before it is decoded. Only reads; what to think of a picture is said elsewhere.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageCms, ImageOps

from training.errors import TrainingError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")
MOST_PIXELS = 89_478_485
"""Pillow's own limit (``Image.MAX_IMAGE_PIXELS``): 268 MB of RGB."""

LARGE = 25_000_000  # pixels of a picture that is decoded alone

_HEIF = (".heic", ".heif")
_ANIMATED = ("GIF", "PNG", "WEBP")  # a JPEG or HEIC of several frames holds depth maps, previews
_PROBLEMS = (
    *(OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, EOFError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow's readers raise on damaged files."""

_large = threading.Lock()

# Pillow warns of large pictures and refuses only twice as large ones: here both are refused.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class Look:
    """What a file says of itself.

    Attributes:
        width: in pixels, upright.
        height: in pixels, upright.
        format: Pillow's name, such as JPEG.
        mode: Pillow's name, such as CMYK.
        turned: its EXIF data turn it.
        transparent: some of it may be.
        animated: it has several frames.
        profile: name of a colour profile other than sRGB; empty for none.
    """

    width: int
    height: int
    format: str
    mode: str
    turned: bool
    transparent: bool
    animated: bool
    profile: str


def read(path: Path) -> Image.Image:
    """Return a picture as training sees it, mode RGB.

    Raises:
        TrainingError: it is damaged, too large, or no picture.
    """
    return look(path)[0]


def look(path: Path, least: int | None = None) -> tuple[Image.Image, Look]:
    """Return a picture as training sees it, mode RGB, and what its file says.

    Args:
        path: the file.
        least: a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its
            sides stay this long; all of the file is read nevertheless.

    Raises:
        TrainingError: it is damaged, too large, or no picture.
    """
    with _opened(path) as opened:
        return _seen(opened, least)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold a picture in memory: of several threads one at a time, if it is a very large one.

    Raises:
        TrainingError: it is no picture, or too large.
    """
    with _opened(path) as opened:
        large = opened.width * opened.height > LARGE
    with _large if large else nullcontext():
        yield


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if path.suffix.lower() in _HEIF:
        _know_heif()
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield opened
    except _PROBLEMS as error:
        raise _refusal(path, error) from error


def _seen(opened: Image.Image, least: int | None) -> tuple[Image.Image, Look]:
    width, height = opened.size
    own_format, own_mode = opened.format or "", opened.mode
    animated = own_format in _ANIMATED and getattr(opened, "n_frames", 1) > 1
    if least:
        opened.draft(None, (least, least))
    before = opened.size
    image = ImageOps.exif_transpose(opened)
    turned = opened.getexif().get(0x0112, 1) in range(2, 9)
    if image.size != before and before[0] != before[1]:  # its sides were swapped
        width, height = height, width
    transparent = _transparent(image)
    profile = _profile(image)
    told = Look(
        *(width, height, own_format, own_mode),
        turned=turned,
        transparent=transparent,
        animated=animated,
        profile=_name(profile) if profile else "",
    )
    seen = _rgb(_srgb(_eight_bits(image), profile))
    seen.info = {}  # what it said of colours, turning and places is no longer so
    return seen, told


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale what has more bits; Pillow's own conversion would cut it off at 255."""
    if image.mode == "F":
        raise ValueError("its pixels are floating point numbers")
    if not image.mode.startswith("I"):
        return image
    import numpy as np

    values = np.asarray(image).astype(np.int64)
    deep = image.mode != "I" or bool(values.size and values.max() > 255)
    return Image.fromarray(np.clip(values >> 8 if deep else values, 0, 255).astype(np.uint8))


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """Return the colour profile, unless it is sRGB or cannot be read."""
    content = image.info.get("icc_profile")
    if not content or not isinstance(content, bytes):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        return None if "srgb" in _name(profile).lower() else profile
    except (ImageCms.PyCMSError, OSError):
        return None


def _name(profile: ImageCms.ImageCmsProfile) -> str:
    return " ".join(ImageCms.getProfileDescription(profile).split()) or "unnamed"


def _srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image:
    """Bring the colours to sRGB; a profile that does not fit its picture is passed over."""
    if profile is None:
        return image
    if image.mode == "P":
        image = image.convert("RGBA" if _transparent(image) else "RGB")
    if image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    wanted = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        made = ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode=wanted
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return made or image


def _rgb(image: Image.Image) -> Image.Image:
    if not _transparent(image):
        return image.convert("RGB")
    seen = image.convert("RGBA")
    white = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(white, seen).convert("RGB")


def _know_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()  # a second time does nothing


def _refusal(path: Path, error: Exception) -> TrainingError:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return TrainingError(
            "the picture is too large",
            path=path,
            why=f"it has more than {MOST_PIXELS // 1_000_000} million pixels",
            fix="Make it smaller",
        )
    return TrainingError("cannot be read as a picture", path=path, why=_why(path, error))


def _why(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    try:
        if path.stat().st_size == 0:
            return "it is empty"
    except OSError as other:
        return other.strerror or str(other)
    if isinstance(error, Image.UnidentifiedImageError):
        return "what is in it is no picture of a known kind"
    return str(error) or type(error).__name__
