"""Random weights, one independent stream per tensor.

A tensor's values depend on the seed and its name alone, so adding or dropping another tensor
changes no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Half: TypeAlias = NDArray[np.float16]
Weights: TypeAlias = dict[str, Half]

# The window of a convolution by its size, row by row; binomial, as near to Gaussian as it gets.
_WINDOWS = {1: np.ones((1, 1)), 3: np.outer((1, 2, 1), (1, 2, 1)).astype(float)}


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws tensors for one model of one seed."""

    seed: int

    def normal(self, name: str, shape: Sequence[int], std: float) -> Half:
        """Gaussian values of standard deviation `std`, rounded to F16."""
        stream = np.random.default_rng([self.seed, crc32(name.encode())])
        return (stream.standard_normal(tuple(shape), np.float32) * std).astype(np.float16)

    def layer(self, name: str, shape: Sequence[int], gain: float = 1.0) -> Half:
        """A weight (out, in, ...) that keeps the size of what it multiplies, times `gain`."""
        return self.normal(name, shape, gain / prod(shape[1:]) ** 0.5)

    def linear(self, module: str, rows: int, width: int, gain: float = 1.0) -> Weights:
        """Weight and a small bias of a linear layer."""
        return {
            f"{module}.weight": self.layer(f"{module}.weight", (rows, width), gain),
            f"{module}.bias": self.normal(f"{module}.bias", (rows,), 0.05),
        }

    def conv(self, module: str, rows: int, channels: int, size: int, gain: float = 1.0) -> Weights:
        """Weight and a small bias of a square 2-D convolution that blurs.

        One random matrix for all places of a Gaussian window: an untrained convolution with an own
        value at each place makes static of whatever it sees.
        """
        matrix = self.layer(f"{module}.weight", (rows, channels, 1, 1), gain)
        window = _WINDOWS[size] / np.sqrt((_WINDOWS[size] ** 2).sum())
        return {
            f"{module}.weight": (matrix * window).astype(np.float16),
            f"{module}.bias": self.normal(f"{module}.bias", (rows,), 0.05),
        }


def ones(width: int, value: float = 1.0) -> Half:
    """A norm's scale."""
    return np.full(width, value, np.float16)


def norm(module: str, width: int) -> Weights:
    """Scale and shift of a norm that changes nothing."""
    return {f"{module}.weight": ones(width), f"{module}.bias": ones(width, 0.0)}
