"""Structural similarity of two pictures (SSIM: Wang, Bovik, Sheikh and Simoncelli, 2004).

As the paper has it: grey values, a Gaussian window of 11 x 11 pixels with sigma 1.5, population
variances, K1 = 0.01, K2 = 0.03, and the mean over all places where the whole window lies inside.
scikit-image gives the same with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``;
for this one formula it would bring 70 MB of packages.
"""

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey: TypeAlias = NDArray[np.float64]

WINDOW, SIGMA = 11, 1.5  # pixels
K1, K2, RANGE = 0.01, 0.03, 255.0


def of_files(first: bytes, second: bytes) -> float:
    """Compare two files of pictures by their grey values (ITU-R 601, as Pillow has it).

    Raises:
        ValueError: they differ in size or are smaller than the window.
        OSError: one of them is no picture.
    """
    return ssim(*(_grey(content) for content in (first, second)))


def ssim(first: Grey, second: Grey) -> float:
    """Compare two pictures, (height, width) each, values 0 to 255.

    Returns:
        1 for equal ones, less for others; it may be negative.

    Raises:
        ValueError: they differ in size or are smaller than the window.
    """
    if first.shape != second.shape or first.ndim != 2 or min(first.shape) < WINDOW:
        raise ValueError(f"pictures of {first.shape} and {second.shape} cannot be compared")
    means = _smoothed(first), _smoothed(second)
    common = means[0] * means[1]
    squares = means[0] ** 2 + means[1] ** 2
    covariance = _smoothed(first * second) - common
    variances = _smoothed(first**2) + _smoothed(second**2) - squares
    small, smaller = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    above = (2 * common + small) * (2 * covariance + smaller)
    return float((above / ((squares + small) * (variances + smaller))).mean())


def _smoothed(values: Grey) -> Grey:
    """The weighted mean of every window inside, one direction after the other."""
    away = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (away / SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis)
        values = windows @ weights
    return values


def _grey(content: bytes) -> Grey:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L"), np.float64)
