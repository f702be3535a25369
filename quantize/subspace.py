"""The space in which a LoRA's change of a weight lives, and what an error does there.

A change of a few thousand rows and columns, D = up @ down, has few directions: D = U S V^T, with as
many columns in U (rows, rank) and V (width, rank) as there are terms, or fewer. Quantising adds an
error E to W + D, most of it elsewhere. What the change meets of it is M = U^T E V, and

    kept   1 + <E, D> / <D, D>     the share of the change that is in the packed weights
    error  |M| / |D|               what is added to it in its own space; 0 is none (Frobenius norms)

U is never made. With the terms' own products (Gram matrices) one finds small matrices L and R such
that U = up @ L and V = down^T @ R, and M = L^T up^T (E V) needs of the error only its products with
the columns of V, which the stream of chunks leaves behind.

Directions in which up or down is less than a ten-thousandth of their strongest are left out: there
float32 says nothing.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.float32]

_ROWS = 1024  # that are widened at a time, so that they stay in the cache
_FLOOR = 1e-4  # of the largest singular value


@dataclass(frozen=True, slots=True)
class Share:
    """Sums over a space: of the change's squares, of change times error, of the error's squares."""

    change: float
    common: float
    error: float


@dataclass(frozen=True, slots=True)
class Subspace:
    """A change's own space.

    Attributes:
        up: (rows, terms), the left factor.
        left: L, (terms, rank).
        directions: V transposed, (rank, width).
        sizes: (rank,), the singular values of the change.
    """

    up: Floats
    left: Doubles
    directions: Floats
    sizes: Doubles

    def share(self, seen: Floats) -> Share:
        """Measure an error, given its products with the directions: E @ V, (rows, rank)."""
        met = self.left.T @ _product(self.up, seen)
        return Share(
            change=float(self.sizes @ self.sizes),
            common=float(np.diagonal(met) @ self.sizes),
            error=float((met * met).sum()),
        )


def of(up: Floats, down: Floats) -> Subspace:
    """Find the space of up (rows, terms) @ down (terms, width)."""
    left, right = _product(up, up), _product(down.T, down.T)
    # Each term's length goes to the left, so that it does not matter how a file shares it out.
    length = np.sqrt(np.diagonal(right))
    length = np.where(length > 0, length, 1.0)
    to_up, up_root = _root(left * length[:, None] * length)
    to_down, down_root = _root(right / length[:, None] / length)
    first, sizes, second = np.linalg.svd(up_root.T @ down_root)
    rank = int((sizes > _FLOOR * sizes[:1]).sum())
    across = (to_down @ second[:rank].T) / length[:, None]
    return Subspace(
        up,
        length[:, None] * (to_up @ first[:, :rank]),
        across.T.astype(np.float32) @ down,
        sizes[:rank],
    )


def _product(one: Floats, other: Floats) -> Doubles:
    """one^T @ other, summed in double precision."""
    product = np.zeros((one.shape[1], other.shape[1]))
    for first in range(0, len(one), _ROWS):
        left = one[first : first + _ROWS].astype(np.float64)
        right = left if other is one else other[first : first + _ROWS].astype(np.float64)
        product += left.T @ right
    return product


def _root(gram: Doubles) -> tuple[Doubles, Doubles]:
    """Q / sqrt(v) and Q sqrt(v) of a Gram matrix Q v Q^T, without what is next to nothing."""
    values, vectors = np.linalg.eigh(gram)
    strong = values > _FLOOR**2 * values.max(initial=0.0)
    root = np.sqrt(values[strong])
    return vectors[:, strong] / root, vectors[:, strong] * root
