"""What the nodes of :mod:`host.image_nodes` do. numpy, Pillow and torch load with the first one."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from host.errors import RenderError
from host.node_types import Context, Result

if TYPE_CHECKING:
    from host.images import Pixels
    from host.picture_files import Mask


def load_image(context: Context, *, image: str) -> Result:
    """LoadImage: a picture that was uploaded (or made here), and its transparency as a mask."""
    from host.picture_files import load

    return Result(load(picture_path(context, image)))


def picture_path(context: Context, name: str) -> Path:
    """Return the path of a picture that a graph names.

    Raises:
        RenderError: the name leads out of its folder.
    """
    path = context.folders.annotated(name)
    if path is None:
        raise RenderError(
            f"There is no picture {name!r}", fix="Choose one below the input, output or temp folder"
        )
    return path


def scale(
    context: Context, *, image: Pixels, upscale_method: str, width: int, height: int, crop: str
) -> Result:
    """ImageScale: to a size; a side of 0 follows from the other, two keep the picture as it is."""
    from host.resizing import resized

    del context
    if width == 0 and height == 0:
        return Result((image,))
    old_height, old_width = image.shape[1:3]
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    return Result((resized(image, width, height, upscale_method, crop),))


def scale_by(context: Context, *, image: Pixels, upscale_method: str, scale_by: float) -> Result:
    """ImageScaleBy: by a factor."""
    from host.resizing import resized

    del context
    height, width = (round(side * scale_by) for side in image.shape[1:3])
    return Result((resized(image, width, height, upscale_method),))


def scale_to_megapixels(
    context: Context, *, image: Pixels, upscale_method: str, megapixels: float
) -> Result:
    """ImageScaleToTotalPixels: to so many times 1024 x 1024 pixels, in the same shape."""
    height, width = image.shape[1:3]
    factor = sqrt(int(megapixels * 1024 * 1024) / (width * height))
    return scale_by(context, image=image, upscale_method=upscale_method, scale_by=factor)


def invert(context: Context, *, image: Pixels) -> Result:
    """ImageInvert: the negative."""
    del context
    return Result((1 - image,))


def batch(context: Context, *, image1: Pixels, image2: Pixels) -> Result:
    """ImageBatch: one batch of two; the second is scaled and cropped to the size of the first."""
    from host.resizing import joined

    del context
    return Result((joined(image1, image2),))


def pad(
    context: Context,
    *,
    image: Pixels,
    left: int,
    top: int,
    right: int,
    bottom: int,
    feathering: int,
) -> Result:
    """ImagePadForOutpaint: grey margins, and a mask that says what is to be drawn."""
    from host.outpainting import Margins, mask, padded

    del context
    margins = Margins(left, top, right, bottom)
    return Result((padded(image, margins), mask(image.shape[1:3], margins, feathering)))


def crop(context: Context, *, image: Pixels, width: int, height: int, x: int, y: int) -> Result:
    """ImageCrop: a part; what lies outside of the picture is left out."""
    del context
    x, y = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return Result((image[:, y : y + height, x : x + width],))


def stitch(
    context: Context,
    *,
    image1: Pixels,
    direction: str,
    match_image_size: bool,
    spacing_width: int,
    spacing_color: str,
    image2: Pixels | None = None,
) -> Result:
    """ImageStitch: two pictures in one, beside or below each other."""
    from host.joining import stitched

    del context
    if image2 is None:
        return Result((image1,))
    joined = stitched(
        image1, image2, direction, spacing_width, spacing_color, match=match_image_size
    )
    return Result((joined,))


def composite(
    context: Context,
    *,
    destination: Pixels,
    source: Pixels,
    x: int,
    y: int,
    resize_source: bool,
    mask: Mask | None = None,
) -> Result:
    """ImageCompositeMasked: one picture over another, where the mask says so."""
    from host.joining import composited

    del context
    return Result((composited(destination, source, x, y, mask, resize=resize_source),))
