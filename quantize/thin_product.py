"""A product of two thin matrices, up (rows, terms) @ down (terms, width), added to weights.

Vector code does it (kernels/thin_sum.py) where there is a compiler and rows are whole vectors;
numpy does it else. The sums have the same bits either way.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantize import decode, kernel
from quantize.kernels.halves import SOURCES

if TYPE_CHECKING:
    from quantize.kernels.jit import Target
    from quantize.kernels.thin_sum import Adder

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

ROWS = 8  # are done side by side, so buffers need room for so many whole rows; as in thin_code.py
_LINE = 64  # bytes of a cache line, and of the widest vector

Code = TypeVar("Code")

log = logging.getLogger(__name__)


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
        self._lanes = 1 if target is None else target.width * _abreast(target)
        self._target = None if self.width % self._lanes else target
        if self._target is not None:
            self._lay_out(self._lanes)

    def _lay_out(self, lanes: int) -> None:
        """Copies as kernels/thin_sum.py describes them."""
        blocks = -(-self.rows // ROWS)
        tiles = aligned(blocks * ROWS * self.terms)
        padded = tiles.reshape(blocks, self.terms, ROWS)
        whole = self.rows - self.rows % ROWS
        padded[: whole // ROWS] = self._up[:whole].reshape(-1, ROWS, self.terms).transpose(0, 2, 1)
        if whole < self.rows:
            padded[-1, :, : self.rows - whole] = self._up[whole:].T
        self._tiles, self._tiles_at = tiles, tiles.ctypes.data
        self._to_add = aligned(self._down.size)
        self._to_add.reshape(-1, self.terms, lanes)[:] = self._down.reshape(
            self.terms, -1, lanes
        ).transpose(1, 0, 2)
        self._to_add_at = self._to_add.ctypes.data

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
            self._tiles_at + 4 * start * self.terms,
            self._to_add_at,
            -(-(stop - start) // ROWS),
            self.width // self._lanes,
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


def of(up: Floats, down: Floats) -> ThinProduct:
    """A product on the processor at hand."""
    return ThinProduct(up, down, kernel.target())


def _abreast(target: "Target") -> int:
    """How many vectors of sums are in work at once: as many as there are registers for."""
    return 2 if target.width == 16 else 1


@cache
def _adder(source: str, target: "Target") -> "Adder | None":
    # Only here, where there is a target: without llvmlite there is none.
    from quantize.kernels import thin_sum

    return compiled(lambda: thin_sum.adder(SOURCES[source], target, _abreast(target)))


def compiled(compile_it: Callable[[], Code]) -> Code | None:
    """What is compiled, or None where LLVM fails."""
    try:
        return compile_it()
    except (RuntimeError, OSError) as error:
        log.warning("LoRAs are baked without vectors, slowly: LLVM failed: %s", error)
        return None
