"""Sums with a product of thin matrices, in vector code: weights and what a LoRA adds to them.

    sum[i][x] = scale * weight[i][x] + (up[i][0] * down[0][x] + up[i][1] * down[1][x] ...)

A number is summed alone and from the left, beginning with zero, and each product and each sum is
rounded to float32 by itself. So a weight does not depend on how its tensor was cut into chunks or
parts, on the width of a vector, or on products with zero beside it; and numpy can do the same.

`weight` comes as it lies in the file (halves.SOURCES). What is read together lies together, with
zeros where a piece is not full (V is the numbers of the vectors abreast, R is ROWS):

    up    [rows / R][terms][R]           down    [width / V][terms][V]

Rows are done R at a time: buffers have room for the last ones.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from quantize.kernels import jit
from quantize.kernels.halves import Source
from quantize.kernels.jit import Target
from quantize.kernels.thin_code import LONG, POINTER, ROWS, ThinWriter, function
from quantize.kernels.vector_lanes import FLOAT, Value, VectorLanes
from quantize.kernels.vectors import counting

_PANELS = 32  # of `down` that are added while they lie in the second cache


@dataclass(frozen=True, slots=True)
class Adder:
    """add() for one source format; each argument is an address or a number.

    Attributes:
        add: (weights, sums, up, down, row blocks, panels, terms, scale).
        engine: keeps its code in memory.
    """

    add: Callable[[int, int, int, int, int, int, int, float], None]
    engine: Any


_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_ADD = ctypes.CFUNCTYPE(None, *[_ADDRESS] * 4, *[_NUMBER] * 3, ctypes.c_float)
# Calling it releases the GIL.


def adder(source: Source, target: Target, abreast: int) -> Adder:
    """Compile add() for weights of one source format, with so many vectors abreast.

    Raises:
        RuntimeError: LLVM failed.
    """

    def write() -> ir.Module:
        module = ir.Module()
        kinds = [POINTER] * 4 + [LONG] * 3 + [FLOAT]
        with function(module, "add", kinds) as (builder, values):
            _write_add(ThinWriter(builder, target.width, abreast), values, source)
        return module

    engine = jit.linked(write, target)
    return Adder(_ADD(engine.get_function_address("add")), engine)


def _write_add(w: ThinWriter, values: list[Value], source: Source) -> None:
    raw, sums, up, down, row_blocks, panels, terms, scale = values
    width = w.product(panels, w.lanes)
    factor = VectorLanes(w.builder, [scale])
    with (
        w.spans(panels, _PANELS) as (start, end),
        w.count(row_blocks) as row_block,
        counting(w.builder, start, end) as panel,
    ):
        there = w.at(down, w.product(panel, terms, w.lanes))
        own = w.at(up, w.product(row_block, terms, ROWS))
        delta = [w.machine.variable(0.0) for _ in range(ROWS)]
        with w.count(terms) as term:
            direction = w.load(there, w.product(term, w.lanes))
            for row in range(ROWS):
                delta[row] += w.number(own, w.total(w.product(term, ROWS), row)) * direction
        for row in range(ROWS):
            place = w.product(w.total(w.product(row_block, ROWS), row), width)
            place = w.total(place, w.product(panel, w.lanes))
            w.store(w.weights(raw, place, source) * factor + delta[row], sums, place)
