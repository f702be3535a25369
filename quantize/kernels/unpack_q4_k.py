"""Q4_K's blocks as float32 again, in vector code: what a loader makes of them.

    void unpack(const void *blocks, float *weights, int64_t count)

The sums are ggml's, `d * scale * level - dmin * min`, four times as fast: ggml's own is plain C for
any processor, and baking reads back every block that it packs. Layout of a block: q4_k.py.
"""

from typing import Any

from llvmlite import ir

from quantize.kernels.halves import SOURCES
from quantize.kernels.lanes import Lanes
from quantize.kernels.thin_code import BYTE, LONG, SHORT, ThinWriter
from quantize.kernels.vector_lanes import FLOAT, INT, Value, VectorLanes, values_of
from quantize.kernels.vectors import counting

_WEIGHTS, _NBYTES = 256, 144
_SCALES, _LEVELS = 4, 16  # where they begin, in bytes
_FOUR = ir.VectorType(INT, 4)


def write(w: ThinWriter, values: list[Value]) -> None:
    """Write the function's body; `count` is whole blocks."""
    _Unpack(w).write(*values)


class _Unpack:
    def __init__(self, w: ThinWriter) -> None:
        self._w, self._b = w, w.builder
        self._steps = w.machine.memory(FLOAT, 8)  # of a sub-block's levels
        self._least = w.machine.memory(FLOAT, 8)  # and what is taken off

    def write(self, blocks: Value, weights: Value, count: Value) -> None:
        w = self._w
        with counting(self._b, LONG(0), count, _WEIGHTS) as first:
            number = self._b.udiv(first, LONG(_WEIGHTS))
            block = w.at(blocks, w.product(number, _NBYTES), BYTE)
            self._write_scales(block)
            out = w.at(weights, first)
            for pair in range(4):
                self._write_pair(w.at(block, LONG(_LEVELS + 32 * pair), BYTE), pair, out)

    def _write_scales(self, block: Value) -> None:
        """Eight scales and minima of six bits, of which the upper four lie in pieces."""
        low, least, rest = (self._four(block, _SCALES + at) for at in (0, 4, 8))
        d, dmin = self._half(block, 0), self._half(block, 1)
        self._keep(low & 63, d, self._steps, 0)
        self._keep(least & 63, dmin, self._least, 0)
        self._keep(rest & 15 | (low >> 6) << 4, d, self._steps, 4)
        self._keep(rest >> 4 | (least >> 6) << 4, dmin, self._least, 4)

    def _four(self, block: Value, at: int) -> Lanes:
        place = self._w.at(block, LONG(at), BYTE)
        few = self._b.load(place, typ=ir.VectorType(BYTE, 4), align=1)
        return VectorLanes(self._b, [self._b.zext(few, _FOUR)])

    def _half(self, block: Value, at: int) -> Lanes:
        bits = self._b.load(self._w.at(block, LONG(at), SHORT), typ=SHORT, align=1)
        lanes = VectorLanes(self._b, [self._b.zext(bits, INT)])
        return SOURCES["F16"].to_float(self._w.machine, lanes)

    def _keep(self, few: Lanes, unit: Lanes, memory: Value, at: int) -> None:
        (product,) = values_of(self._w.machine.number(few) * unit)
        self._b.store(product, self._w.at(memory, LONG(at)), align=16)

    def _write_pair(self, levels: Value, pair: int, out: Value) -> None:
        """Two sub-blocks, in the lower and the upper halves of 32 bytes."""
        w, width = self._w, self._w.width
        scales = [self._scale(2 * pair), self._scale(2 * pair + 1)]
        for first in range(0, 32, width):
            place = w.at(levels, LONG(first), BYTE)
            raw: Any = self._b.load(place, typ=w.machine.vector(BYTE), align=1)
            both = VectorLanes(self._b, [self._b.zext(raw, w.machine.vector(INT))])
            for half, level in enumerate((both & 15, both >> 4)):
                step, least = scales[half]
                value = w.machine.number(level) * step - least
                w.store(value, out, LONG(64 * pair + 32 * half + first))

    def _scale(self, sub_block: int) -> tuple[Lanes, Lanes]:
        at = LONG(sub_block)
        return self._w.number(self._steps, at), self._w.number(self._least, at)
