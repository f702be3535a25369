"""Grows and shrinks masks: the largest (smallest) value around each pixel, again and again.

The numbers are those of scipy's ``grey_dilation`` and ``grey_erosion`` with a 3 x 3 footprint,
which is what ComfyUI calls.
"""

import numpy as np

from host.picture_files import Mask


def grown(mask: Mask, pixels: int, *, tapered: bool) -> Mask:
    """Return a mask grown by so many pixels, shrunk if negative.

    Args:
        mask: shape (batch, height, width).
        pixels: how far.
        tapered: to the four neighbours only, so that corners become slanted; else to all eight.
    """
    choose = np.maximum if pixels > 0 else np.minimum
    for _ in range(abs(pixels)):
        larger = _step(mask, choose, tapered=tapered)
        if np.array_equal(larger, mask):
            break  # whatever comes now changes nothing
        mask = larger
    return mask


def _step(mask: Mask, choose: np.ufunc, *, tapered: bool) -> Mask:
    across = _with_neighbours(mask, choose, 2)
    if not tapered:
        return _with_neighbours(across, choose, 1)
    both: Mask = choose(across, _with_neighbours(mask, choose, 1))
    return both


def _with_neighbours(mask: Mask, choose: np.ufunc, axis: int) -> Mask:
    """Return the extreme of each value and its two neighbours along an axis."""
    turned = np.moveaxis(mask, axis, -1)
    result = turned.copy()
    choose(result[..., 1:], turned[..., :-1], out=result[..., 1:])
    choose(result[..., :-1], turned[..., 1:], out=result[..., :-1])
    return np.moveaxis(result, -1, axis)
