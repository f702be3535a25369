"""What packed weights miss of what they should be, along a few directions: error @ directions.T.

Vector code looks (kernels/thin_view.py) where there is a compiler and rows are whole vectors; numpy
does else. The last digits may differ.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import BLOCKS, TensorType
from quantize import kernel, unpack
from quantize.thin_product import ROWS, compiled

if TYPE_CHECKING:
    from quantize.kernels.jit import Target
    from quantize.kernels.thin_view import Viewer

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Shorts: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an error.

    Attributes:
        rows: (rows, count), its products with the directions.
        squares: of what should be, added up.
        error_squares: of the error, added up.
    """

    rows: Floats
    squares: float
    error_squares: float


class ErrorView:
    """A view along some directions. Safe to call from several threads.

    Args:
        directions: (count, width) float32, finite.
        target: the processor to compile for; None: numpy does everything.
    """

    def __init__(self, directions: Floats, target: "Target | None") -> None:
        self._directions = directions
        self.count, self.width = directions.shape
        fits = target is not None and self.width % target.width == 0
        self._target = target if fits and self.count else None
        if self._target is not None:
            self._units, self._whole = _laid_out(directions, self._target.width)
            self._whole_at = self._whole.ctypes.data

    def see(self, kind: TensorType, packed: Bytes, sums: Floats, rows: int) -> Seen:
        """Look at the error of `packed`, which should be `sums`, (rows, width)."""
        count = rows * self.width
        viewer = None if self._target is None else _viewer(self._target)
        if viewer is None or self._target is None:
            return self._seen_by_numpy(kind, packed, sums[:count])
        function = viewer.unpackers.get(kind) or unpack.function(kind)
        if function is None:
            packed, kind = unpack.unpacked(kind, packed, count).view(np.uint8), TensorType.F32
            function = viewer.unpackers[kind]
        block = BLOCKS[kind]
        vector, height = self._target.width, -(-rows // ROWS) * ROWS
        squares = np.empty((2, vector), np.float32)
        panels = -(-self.count // vector)
        seen = np.empty((panels, height, vector), np.float32)
        viewer.view(
            function,
            packed.ctypes.data,
            sums.ctypes.data,
            self._whole_at,
            seen.ctypes.data,
            squares.ctypes.data,
            rows,
            self.width,
            panels,
            block.size,
            block.nbytes,
        )
        found = seen.transpose(1, 0, 2).reshape(height, -1)[:rows, : self.count]
        return Seen(found * self._units, *squares.sum(axis=1, dtype=np.float64).tolist())

    def _seen_by_numpy(self, kind: TensorType, packed: Bytes, sums: Floats) -> Seen:
        error = unpack.unpacked(kind, packed, sums.size)
        error -= sums
        squares = (float(np.einsum("i,i->", x, x, dtype=np.float64)) for x in (sums, error))
        return Seen(error.reshape(-1, self.width) @ self._directions.T, *squares)


def of(directions: Floats) -> ErrorView:
    """A view on the processor at hand."""
    return ErrorView(directions, kernel.target())


def _laid_out(directions: Floats, vector: int) -> tuple[Floats, Shorts]:
    """What one of a direction's whole numbers is, and those, as kernels/thin_view.py has them."""
    from quantize.kernels.thin_view import MOST

    (count, width), panels = directions.shape, -(-len(directions) // vector)
    units = np.abs(directions).max(axis=1) / np.float32(MOST)
    whole = np.zeros((panels * vector, width), np.int16)
    np.rint(
        directions / np.where(units > 0, units, 1)[:, None], out=whole[:count], casting="unsafe"
    )
    pairs = whole.reshape(panels, vector, width // 2, 2).transpose(0, 2, 1, 3)
    return units, np.ascontiguousarray(pairs)


@cache
def _viewer(target: "Target") -> "Viewer | None":
    # Only here, where there is a target: without llvmlite there is none.
    from quantize.kernels import thin_view

    return compiled(lambda: thin_view.viewer(target))
