"""What the packed blocks of a layer see of a few directions, in vector code.

    error[i][x] = unpacked[i][x] - sum[i][x]
    seen[i][k]  = error[i][0] * direction[k][0] + error[i][1] * direction[k][1] + ...

It only measures, so it need not be exact to the last bit: the errors of a tile are rounded to 12
bits of the largest of them, directions to 13 bits, and both are multiplied as whole
numbers, two columns in one instruction (pmaddwd), half the work of float32. The sum of a span fits
into 32 bits. What is lost is chance, a ten-thousandth of what is seen.

`unpacked` is what a function of C makes of packed blocks, some at a time, so that nothing of it
leaves the first cache:

    void unpack(const void *blocks, float *weights, int64_t count)

What is read together lies together, with zeros where a piece is not full (V is a vector's numbers):

    seen  [count / V][rows][V] float32    directions  [count / V][width / 2][V][2] int16

Rows are done ROWS at a time: buffers have room for the last ones.
"""

import ctypes
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from models.tensor_types import TensorType
from quantize.kernels import jit, unpack_q4_k
from quantize.kernels.jit import Target
from quantize.kernels.lanes import Lanes, Variable
from quantize.kernels.thin_code import BYTE, LONG, POINTER, ROWS, SHORT, ThinWriter, function
from quantize.kernels.vector_lanes import FLOAT, INT, Value, VectorLanes, spread, values_of
from quantize.kernels.vectors import counting

SPAN = 256  # columns that are viewed while they lie in the first cache; whole blocks of every type
MOST = 4095  # of a direction's whole numbers
_MOST_ERROR = 2047  # and of an error's: SPAN products of both fit into 32 bits
_TO_WHOLE = 1.5 * 2**23  # added to a float32, it leaves the nearest whole number in the low bits
_MADD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """view(), and some functions to give it.

    Attributes:
        view: (unpack, blocks, sums, directions, seen, squares, rows, width, panels of directions,
            weights of a block, bytes of a block); squares are two vectors, of the sums' and of the
            errors'.
        unpackers: addresses of functions like unpack(), by type.
        engine: keeps their code in memory.
    """

    view: Callable[[int, int, int, int, int, int, int, int, int, int, int], None]
    unpackers: Mapping[TensorType, int]
    engine: Any


_VIEW = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6, *[ctypes.c_int64] * 5)
# Calling it releases the GIL.


def viewer(target: Target) -> Viewer:
    """Compile view().

    Raises:
        RuntimeError: LLVM failed.
    """

    def write() -> ir.Module:
        module = ir.Module()
        with function(module, "view", [POINTER] * 6 + [LONG] * 5) as (builder, values):
            _ViewWriter(builder, target.width, _View(*values)).write()
        for name, body in _OWN.items():
            with function(module, name, [POINTER] * 2 + [LONG]) as (builder, values):
                body(ThinWriter(builder, target.width), values)
        return module

    engine = jit.linked(write, target)
    address = engine.get_function_address
    unpackers = {TensorType[name]: address(name) for name in _OWN}
    return Viewer(_VIEW(address("view")), unpackers, engine)


@dataclass(frozen=True, slots=True)
class _View:
    """The arguments of view()."""

    unpack: Value
    blocks: Value
    sums: Value
    directions: Value
    seen: Value
    squares: Value
    rows: Value
    width: Value
    panels: Value
    block: Value
    block_bytes: Value


@dataclass(frozen=True, slots=True)
class _Tile:
    """ROWS rows of a span of columns: where they lie, and their errors."""

    first: Value
    start: Value
    end: Value


class _ViewWriter(ThinWriter):
    """Writes view()."""

    def __init__(self, builder: ir.IRBuilder, width: int, view: _View) -> None:
        super().__init__(builder, width)
        self._view = view
        self._errors = self.machine.memory(FLOAT, ROWS * SPAN)
        self._whole = self.machine.memory(SHORT, ROWS * SPAN)  # the same as whole numbers
        self._squares = self.machine.variable(0.0), self.machine.variable(0.0)

    def write(self) -> None:
        v = self._view
        row_blocks = self.builder.sdiv(self.total(v.rows, ROWS - 1), LONG(ROWS))
        with self.spans(v.width, SPAN) as (start, end), self.count(row_blocks) as row_block:
            tile = _Tile(self.product(row_block, ROWS), start, end)
            unit = self._write_tile(tile)
            with self.count(v.panels) as panel:
                self._write_seen(tile, panel, unit)
        for number, total in enumerate(self._squares):
            self.store(total, v.squares, LONG(number * self.width))

    # --- a tile's errors

    def _write_tile(self, tile: _Tile) -> Lanes:
        """Its errors as whole numbers; returns what one of them is."""
        largest = self.machine.variable(0.0)
        with counting(self.builder, tile.first, self._last_row(tile)) as row:
            self._write_errors(tile, row, largest)
        (lanes,) = values_of(largest)
        kind = ir.FunctionType(FLOAT, [lanes.type])
        most = self._own(f"llvm.vector.reduce.fmax.v{self.width}f32", kind, lanes)
        some = self.builder.fcmp_ordered(">", most, FLOAT(0.0))
        factor = self.builder.fdiv(FLOAT(_MOST_ERROR), most)
        self._write_whole(tile, self.builder.select(some, factor, FLOAT(0.0)))
        return VectorLanes(self.builder, [self.builder.fdiv(most, FLOAT(_MOST_ERROR))])

    def _last_row(self, tile: _Tile) -> Value:
        last, rows = self.total(tile.first, ROWS), self._view.rows
        return self.builder.select(self.builder.icmp_signed("<", last, rows), last, rows)

    def _write_errors(self, tile: _Tile, row: Value, largest: Variable) -> None:
        """Unpack a row, subtract, add to the squares."""
        v = self._view
        own = self.at(self._errors, self.product(self.builder.sub(row, tile.first), SPAN))
        first = self.total(self.product(row, v.width), tile.start)
        offset = self.product(self.builder.sdiv(first, v.block), v.block_bytes)
        count = self.builder.sub(tile.end, tile.start)
        kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, LONG])
        self._call(v.unpack, kind, self.at(v.blocks, offset, BYTE), own, count)
        of_sums, of_errors = self._squares
        with counting(self.builder, LONG(0), count, self.width) as column:
            weight = self.load(v.sums, self.total(first, column))
            error = self.load(own, column) - weight
            self.store(error, own, column)
            of_sums += weight * weight
            of_errors += error * error
            size = abs(error)
            largest.assign(self.machine.select(size > largest, size, largest))

    def _call(self, address: Value, kind: Value, *arguments: Value) -> None:
        """Call a function of C."""
        function = self.at(address, LONG(0), BYTE)
        function.type = kind  # to LLVM all pointers are alike; llvmlite asks what it points to
        self.builder.call(function, list(arguments))

    def _write_whole(self, tile: _Tile, factor: Value) -> None:
        """Errors, times a factor, as whole numbers; whatever lies in rows that are not there."""
        times = VectorLanes(self.builder, [factor])
        with (
            self.count(LONG(ROWS)) as row,
            counting(
                self.builder, LONG(0), self.builder.sub(tile.end, tile.start), self.width
            ) as column,
        ):
            place = self.total(self.product(row, SPAN), column)
            shifted = self.load(self._errors, place) * times + _TO_WHOLE
            (bits,) = values_of(self.machine.bits(shifted))
            whole = self.builder.trunc(bits, self.machine.vector(SHORT))
            self.builder.store(whole, self.at(self._whole, place, SHORT), align=2)

    # --- what directions see of them

    def _write_seen(self, tile: _Tile, panel: Value, unit: Lanes) -> None:
        """Add what a panel of directions sees of a tile to what it saw in the spans before."""
        v, width = self._view, self.width
        height = self.product(self.builder.sdiv(self.total(v.rows, ROWS - 1), LONG(ROWS)), ROWS)
        begin = self.product(self.total(self.product(panel, v.width), tile.start), width)
        there = self.at(v.directions, begin, SHORT)
        above = self.total(self.product(panel, height), tile.first)
        kept = self.at(v.seen, self.product(above, width))
        fresh = self.builder.icmp_signed("==", tile.start, LONG(0))
        zero = VectorLanes(self.builder, [ir.Constant(self.machine.vector(INT), [0] * width)])
        sums = [self.machine.variable(zero) for _ in range(ROWS)]
        with counting(self.builder, LONG(0), self.builder.sub(tile.end, tile.start), 2) as column:
            direction = self._shorts(there, self.product(column, width))
            for row, total in enumerate(sums):
                total += self._both(self._pair(self.total(column, row * SPAN)), direction)
        for row, total in enumerate(sums):
            place = LONG(row * width)
            seen = self._before(kept, place, fresh) + self.machine.number(total) * unit
            self.store(seen, kept, place)

    def _shorts(self, memory: Value, first: Value) -> Value:
        kind = ir.VectorType(SHORT, 2 * self.width)
        return self.builder.load(self.at(memory, first, SHORT), typ=kind, align=2)

    def _pair(self, at: Value) -> Value:
        """Two neighbouring errors of a row, again and again."""
        both = self.builder.load(self.at(self._whole, at, SHORT), typ=INT, align=2)
        model = ir.Constant(self.machine.vector(INT), [0] * self.width)
        ((many,), _) = spread(self.builder, [[both], [model]])
        return self.builder.bitcast(many, ir.VectorType(SHORT, 2 * self.width))

    def _both(self, left: Value, right: Value) -> Lanes:
        """Sums of two neighbouring products."""
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(self.machine.vector(INT), [left.type] * 2)
            return VectorLanes(self.builder, [self._own(_MADD[self.width], kind, left, right)])
        wide = ir.VectorType(INT, 2 * self.width)
        products = self.builder.mul(self.builder.sext(left, wide), self.builder.sext(right, wide))
        return VectorLanes(self.builder, [self._half(products, 0)]) + VectorLanes(
            self.builder, [self._half(products, 1)]
        )

    def _half(self, values: Value, first: int) -> Value:
        order = ir.Constant(self.machine.vector(INT), list(range(first, 2 * self.width, 2)))
        return self.builder.shuffle_vector(values, values, order)

    def _before(self, seen: Value, place: Value, fresh: Value) -> Lanes:
        """The sums so far: zero in the first span, whatever lies there."""
        (part,) = values_of(self.load(seen, place))
        zero = ir.Constant(part.type, [0.0] * self.width)
        return VectorLanes(self.builder, [self.builder.select(fresh, zero, part)])

    def _own(self, name: str, kind: ir.FunctionType, *arguments: Value) -> Value:
        """Call one of LLVM's own functions."""
        known = self.builder.module.globals.get(name)
        return self.builder.call(known or ir.Function(self.builder.module, kind, name), arguments)


def _copy(w: ThinWriter, values: list[Value]) -> None:
    source, target, count = values
    with counting(w.builder, LONG(0), count, w.width) as first:
        w.store(w.load(source, first), target, first)


_OWN = {"F32": _copy, "Q4_K": unpack_q4_k.write}
