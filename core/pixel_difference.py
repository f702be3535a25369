"""How far two pictures are from each other, in their pixels.

Texts, times and the way of packing do not count. Told in what a reader can judge: peak
signal-to-noise ratio, largest difference of a channel, share of the pixels that differ at all;
for animations over all frames. Pillow does the arithmetic, at 8 bits a channel.
"""

import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageSequence, UnidentifiedImageError

from core import png_text
from core.png_text import PngError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF")
_NOT_PIXELS = (*png_text.TEXT_KINDS, b"tIME", b"eXIf")
_DEEP = 16  # bits a channel, of which Pillow keeps 8 where there are several channels


@dataclass(frozen=True, slots=True)
class Difference:
    """What compares.

    Attributes:
        identical: every pixel is the same.
        psnr: in dB; ``None`` when identical or not comparable.
        largest: of any channel, 0 to 255.
        share: of the pixels that differ, 0 to 1.
        note: why no figures can be given; else empty.
    """

    identical: bool
    psnr: float | None = None
    largest: int = 0
    share: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        if self.identical:
            return "identical"
        if self.note or self.psnr is None:
            return f"differ: {self.note}"
        return (
            f"differ: PSNR {self.psnr:.1f} dB, largest difference {self.largest} of 255, "
            f"{self.share:.2%} of the pixels"
        )


def compare(then: bytes, now: bytes) -> Difference:
    """Compare two files of pictures."""
    if then == now or _same_chunks(then, now):
        return Difference(identical=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _of_frames(then, now)
    except UnidentifiedImageError:
        return Difference(False, note="the files are no pictures that can be compared")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Difference(False, note="the pictures are too large to be compared")
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for damaged files
        return Difference(False, note=f"one of the files is damaged ({error})")


def _of_frames(then: bytes, now: bytes) -> Difference:
    with (
        Image.open(io.BytesIO(then), formats=FORMATS) as first,
        Image.open(io.BytesIO(now), formats=FORMATS) as second,
    ):
        frames = [getattr(image, "n_frames", 1) for image in (first, second)]
        if first.size != second.size:
            sizes = " and ".join(f"{image.width}x{image.height}" for image in (first, second))
            return Difference(False, note=f"the sizes are {sizes}")
        if frames[0] != frames[1]:
            return Difference(False, note=f"they have {frames[0]} and {frames[1]} frames")
        exact = not (_is_deep(then) or _is_deep(now))
        return _counted(_differences(first, second), exact)


def _differences(first: Image.Image, second: Image.Image) -> Iterator[Image.Image]:
    pairs = zip(ImageSequence.Iterator(first), ImageSequence.Iterator(second), strict=True)
    for one, other in pairs:
        alpha = one.has_transparency_data or other.has_transparency_data
        mode = "RGBA" if alpha else "RGB"
        yield ImageChops.difference(
            _eight_bits(one).convert(mode), _eight_bits(other).convert(mode)
        )


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image


def _counted(differences: Iterator[Image.Image], exact: bool) -> Difference:
    squares = values = pixels = same = largest = 0
    for difference in differences:
        bands = difference.split()
        worst = bands[0]
        for band in bands[1:]:
            worst = ImageChops.lighter(worst, band)
        for value, count in enumerate(difference.histogram()):
            squares += (value % 256) ** 2 * count
            values += count
        steps = worst.histogram()
        same += steps[0]
        pixels += sum(steps)
        largest = max([largest, *(step for step, count in enumerate(steps) if count)])
    if not squares:
        return Difference(exact, note="" if exact else "by less than 8 bits a channel show")
    psnr = 10 * math.log10(255**2 * values / squares)
    return Difference(False, psnr, largest, 1 - same / pixels)


def _same_chunks(then: bytes, now: bytes) -> bool:
    try:
        pixels = [
            [chunk for chunk in png_text.chunks(png) if chunk[0] not in _NOT_PIXELS]
            for png in (then, now)
        ]
    except PngError:
        return False
    return pixels[0] == pixels[1]


def _is_deep(content: bytes) -> bool:
    """Tell whether Pillow reads fewer bits than the file has (byte 24 of a PNG is its depth)."""
    return content.startswith(png_text.SIGNATURE) and content[24:25] == bytes([_DEEP])
