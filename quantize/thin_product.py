"""A product of two thin matrices, up (rows, terms) @ down (terms, width), and what is done with it.

    add    weights + up @ down, as float32, rows at a time
    see    an error's rows on the rows of down:  error @ down.T

Vector code does both (kernels/thin.py) where there is a compiler and rows are whole vectors; numpy
does them else. The sums have the same bits either way.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import BLOCKS, TensorType
from quantize import decode, kernel, unpack
from quantize.kernels.halves import SOURCES

if TYPE_CHECKING:
    from quantize.kernels.jit import Target
    from quantize.kernels.thin import Adder, Viewer

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

ROWS = 8  # are done side by side, so buffers need room for so many whole rows; as in kernels/thin
_LINE = 64  # bytes of a cache line, and of the widest vector

Code = TypeVar("Code")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an error: its rows on down's, and the sums' and its own squares added up."""

    rows: Floats
    squares: float
    error_squares: float


def aligned(count: int) -> Floats:
    """Zeros that begin with a cache line: a vector then never lies in two."""
    room = np.zeros(4 * count + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + 4 * count].view(np.float32)


class ThinProduct:
    """One product, laid out for the processor. Safe to call from several threads.

    Args:
        up: (rows, terms) float32, finite.
        down: (terms, width) float32, finite; at least one term.
        target: the processor to compile for; None: numpy does everything.
    """

    def __init__(self, up: Floats, down: Floats, target: "Target | None") -> None:
        self._up, self._down = up, np.ascontiguousarray(down)
        (self.rows, self.terms), self.width = up.shape, down.shape[1]
        fits = target is not None and self.width % target.width == 0
        self._target = target if fits else None
        if self._target is not None:
            self._lay_out(self._target.width)

    def _lay_out(self, vector: int) -> None:
        """Copies as kernels/thin.py describes them."""
        blocks, panels = -(-self.rows // ROWS), -(-self.terms // vector)
        tiles = aligned(blocks * ROWS * self.terms)
        padded = tiles.reshape(blocks, self.terms, ROWS)
        whole = self.rows - self.rows % ROWS
        padded[: whole // ROWS] = self._up[:whole].reshape(-1, ROWS, self.terms).transpose(0, 2, 1)
        if whole < self.rows:
            padded[-1, :, : self.rows - whole] = self._up[whole:].T
        self._tiles = tiles
        self._to_add = aligned(self._down.size)
        self._to_add.reshape(-1, self.terms, vector)[:] = self._down.reshape(
            self.terms, -1, vector
        ).transpose(1, 0, 2)
        self._to_see = aligned(panels * vector * self.width)
        for panel, place in enumerate(self._to_see.reshape(panels, self.width, vector)):
            part = self._down[panel * vector : (panel + 1) * vector]
            place[:, : len(part)] = part.T

    def add(
        self, raw: Bytes, source: str, scale: float, rows: tuple[int, int], sums: Floats
    ) -> None:
        """Write weights + product into `sums`, row by row.

        Args:
            raw: the weights' bytes; with room for ROWS whole rows, as `sums`.
            source: what they are, a name of decode.DTYPES.
            scale: what they are multiplied by first.
            rows: which rows of the product: from the first to before the second.
            sums: float32.
        """
        start, stop = rows
        adder = None if start % ROWS or self._target is None else _adder(source, self._target)
        if adder is None or self._target is None:
            self._add_by_numpy(raw, source, scale, rows, sums)
            return
        adder.add(
            raw.ctypes.data,
            sums.ctypes.data,
            self._tiles.ctypes.data + 4 * start * self.terms,
            self._to_add.ctypes.data,
            -(-(stop - start) // ROWS),
            self.width // self._target.width,
            self.terms,
            scale,
        )

    def _add_by_numpy(
        self, raw: Bytes, source: str, scale: float, rows: tuple[int, int], sums: Floats
    ) -> None:
        up = self._up[rows[0] : rows[1]]
        count = len(up) * self.width
        delta = np.zeros((len(up), self.width), np.float32)
        with np.errstate(all="ignore"):  # what is not finite is found when it is packed
            for term, direction in enumerate(self._down):
                delta += up[:, term, None] * direction
            decode.decode(raw[: count * SOURCES[source].nbytes], source, sums[:count])
            sums[:count] = sums[:count] * np.float32(scale) + delta.reshape(-1)

    def see(self, kind: TensorType, packed: Bytes, sums: Floats, rows: int) -> Seen:
        """Look at the error of `packed`, which should be `sums`, (rows, width)."""
        count = rows * self.width
        viewer = None if self._target is None else _viewer(self._target)
        if viewer is None or self._target is None:
            return self._seen_by_numpy(kind, packed, sums[:count])
        function, block = unpack.function(kind), BLOCKS[kind]
        if function is None:
            packed = unpack.unpacked(kind, packed, count).view(np.uint8)
            function, block = viewer.copy, BLOCKS[TensorType.F32]
        vector, blocks = self._target.width, -(-rows // ROWS)
        squares = np.empty((2, vector), np.float32)
        panels = -(-self.terms // vector)
        seen = np.empty((panels, blocks * ROWS, vector), np.float32)
        viewer.view(
            function,
            packed.ctypes.data,
            sums.ctypes.data,
            self._to_see.ctypes.data,
            seen.ctypes.data,
            squares.ctypes.data,
            rows,
            self.width,
            panels,
            block.size,
            block.nbytes,
        )
        found = seen.transpose(1, 0, 2).reshape(blocks * ROWS, -1)[:rows, : self.terms]
        return Seen(found, *squares.sum(axis=1, dtype=np.float64).tolist())

    def _seen_by_numpy(self, kind: TensorType, packed: Bytes, sums: Floats) -> Seen:
        error = unpack.unpacked(kind, packed, sums.size)
        error -= sums
        squares = (float(np.einsum("i,i->", x, x, dtype=np.float64)) for x in (sums, error))
        return Seen(error.reshape(-1, self.width) @ self._down.T, *squares)


def of(up: Floats, down: Floats) -> ThinProduct:
    """A product on the processor at hand."""
    return ThinProduct(up, down, kernel.target())


@cache
def _adder(source: str, target: "Target") -> "Adder | None":
    # Only here, where there is a target: without llvmlite there is none.
    from quantize.kernels import thin

    return _compiled(lambda: thin.adder(SOURCES[source], target))


@cache
def _viewer(target: "Target") -> "Viewer | None":
    from quantize.kernels import thin

    return _compiled(lambda: thin.viewer(target))


def _compiled(compile_it: Callable[[], Code]) -> Code | None:
    try:
        return compile_it()
    except (RuntimeError, OSError) as error:
        log.warning("LoRAs are baked without vectors, slowly: LLVM failed: %s", error)
        return None
