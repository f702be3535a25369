"""Margins around a picture, and the mask that has them drawn (ComfyUI's ImagePadForOutpaint)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from host.images import Pixels
from host.picture_files import Mask

GREY = 0.5
"""What margins are filled with."""


@dataclass(frozen=True, slots=True)
class Margins:
    """Widths of the margins in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def around(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width with the margins."""
        return height + self.top + self.bottom, width + self.left + self.right

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Return where the picture then lies."""
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def padded(pixels: Pixels, margins: Margins) -> Pixels:
    """Return pictures with grey margins."""
    batch, height, width, channels = pixels.shape
    result = np.full((batch, *margins.around(height, width), channels), GREY, np.float32)
    result[:, *margins.inside(height, width)] = pixels
    return result


def mask(size: tuple[int, ...], margins: Margins, feathering: int) -> Mask:
    """Return a mask of 1 in the margins, fading to 0 inside the picture, shape (1, height, width).

    Args:
        size: height and width of the picture.
        margins: around it.
        feathering: how far the fading reaches in, in pixels; none if it would fill the picture.
    """
    height, width = size
    result = np.ones(margins.around(height, width), np.float32)
    faded = np.zeros((height, width))
    if feathering > 0 and feathering * 2 < min(height, width):
        down = _distances(height, margins.top, margins.bottom)
        across = _distances(width, margins.left, margins.right)
        near = np.minimum(down[:, None], across[None])
        faded = np.maximum((feathering - near) / feathering, 0) ** 2
    result[margins.inside(height, width)] = faded
    return result[None]


def _distances(length: int, before: int, after: int) -> npt.NDArray[np.float64]:
    """Return how far each position is from an end that has a margin; far if none has."""
    places = np.arange(length, dtype=np.float64)
    start = places if before else np.full(length, np.inf)
    end = length - places if after else np.full(length, np.inf)
    nearer: npt.NDArray[np.float64] = np.minimum(start, end)
    return nearer
