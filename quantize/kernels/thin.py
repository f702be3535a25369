"""Thin matrices in vector code: what a LoRA adds to weights, and what it sees of an error.

    add    sum[i][x] = scale * weight[i][x] + (up[i][0] * down[0][x] + up[i][1] * down[1][x] ...)
    view   error[i][x] = unpacked[i][x] - sum[i][x]
           seen[i][k]  = error[i][0] * down[k][0] + error[i][1] * down[k][1] + ...

In add(), a number is summed alone and from the left, beginning with zero, and each product and each
sum is rounded to float32 by itself. So a weight does not depend on how its tensor was cut into
chunks or parts, on the width of a vector, or on products with zero beside it; and numpy can do the
same. view() only measures: it fuses where the processor can, and its last bits may differ.

`weight` comes as it lies in the file (halves.SOURCES); `unpacked` is what a function of C makes of
packed blocks, some at a time, so that nothing of it leaves the first cache:

    void unpack(const void *blocks, float *weights, int64_t count)

What is read together lies together, with zeros where a piece is not full (V is a vector's numbers,
R is ROWS):

    up    [rows / R][terms][R]           down, to add     [width / V][terms][V]
    seen  [terms / V][rows][V]           down, to view    [terms / V][width][V]

Rows are done R at a time: buffers have room for the last ones.
"""

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from quantize.kernels import jit
from quantize.kernels.halves import Source
from quantize.kernels.jit import Target
from quantize.kernels.lanes import Lanes, Layout, Variable
from quantize.kernels.vector_lanes import (
    FLOAT,
    INT,
    Value,
    VectorLanes,
    call,
    spread,
    values_of,
)
from quantize.kernels.vectors import Shape, VectorMachine, counting

ROWS = 8  # in work side by side: enough sums to hide how long one takes, and registers for them
_PANELS = 32  # of `down` that are added while they lie in the second cache
_SPAN = 256  # columns that are viewed while they lie in the first cache; whole blocks of every type
_BYTE, _LONG, _POINTER = ir.IntType(8), ir.IntType(64), ir.PointerType()
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Adder:
    """add() for one source format; each argument is an address or a number.

    Attributes:
        add: (weights, sums, up, down, row blocks, panels, terms, scale).
        engine: keeps its code in memory.
    """

    add: Callable[[int, int, int, int, int, int, int, float], None]
    engine: Any


@dataclass(frozen=True, slots=True)
class Viewer:
    """view(), and copy() for weights that are unpacked already.

    Attributes:
        view: (unpack, blocks, sums, down, seen, squares, rows, width, panels, weights of a block,
            bytes of a block); squares are two vectors, of the sums' and of the errors'.
        copy: address of a function like unpack().
        engine: keeps their code in memory.
    """

    view: Callable[[int, int, int, int, int, int, int, int, int, int, int], None]
    copy: int
    engine: Any


_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_ADD = ctypes.CFUNCTYPE(None, *[_ADDRESS] * 4, *[_NUMBER] * 3, ctypes.c_float)
_VIEW = ctypes.CFUNCTYPE(None, *[_ADDRESS] * 6, *[_NUMBER] * 5)
# Calling one of them releases the GIL.


def adder(source: Source, target: Target) -> Adder:
    """Compile add() for weights of one source format.

    Raises:
        RuntimeError: LLVM failed.
    """

    def write() -> ir.Module:
        module = ir.Module()
        kinds = [_POINTER] * 4 + [_LONG] * 3 + [FLOAT]
        with _function(module, "add", kinds) as (builder, values):
            _write_add(_Writer(builder, target.width), values, source)
        return module

    engine = jit.linked(write, target)
    return Adder(_ADD(engine.get_function_address("add")), engine)


def viewer(target: Target) -> Viewer:
    """Compile view().

    Raises:
        RuntimeError: LLVM failed.
    """

    def write() -> ir.Module:
        module = ir.Module()
        with _function(module, "view", [_POINTER] * 6 + [_LONG] * 5) as (builder, values):
            _write_view(_Writer(builder, target.width), _View(*values), _fuses(target))
        with _function(module, "copy", [_POINTER] * 2 + [_LONG]) as (builder, values):
            _write_copy(_Writer(builder, target.width), values)
        return module

    engine = jit.linked(write, target)
    address = engine.get_function_address
    return Viewer(_VIEW(address("view")), address("copy"), engine)


@contextmanager
def _function(module: ir.Module, name: str, kinds: list[Value]) -> Iterator[Any]:
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder = ir.IRBuilder(function.append_basic_block())
    yield builder, function.args
    builder.ret_void()


class _Writer:
    """Reads and writes one vector at numbered floats of a memory."""

    def __init__(self, builder: ir.IRBuilder, width: int) -> None:
        self.builder, self.width = builder, width
        shape = Shape(width, width)
        self.machine = VectorMachine(builder, Layout(1, 1, 1, ()), shape, None, None)

    def count(self, stop: Value) -> Any:
        return counting(self.builder, _LONG(0), stop)

    @contextmanager
    def spans(self, stop: Value, step: int) -> Iterator[tuple[Value, Value]]:
        """From 0 to `stop` in steps, of which the last may be shorter: where each begins, ends."""
        with counting(self.builder, _LONG(0), stop, step) as start:
            end = self.total(start, step)
            inside = self.builder.icmp_signed("<", end, stop)
            yield start, self.builder.select(inside, end, stop)

    def product(self, first: Value, *factors: Value | int) -> Value:
        for factor in factors:
            first = self.builder.mul(first, _LONG(factor) if isinstance(factor, int) else factor)
        return first

    def total(self, first: Value, *terms: Value | int) -> Value:
        for term in terms:
            first = self.builder.add(first, _LONG(term) if isinstance(term, int) else term)
        return first

    def at(self, memory: Value, first: Value, kind: Value = FLOAT) -> Value:
        return self.machine.place(memory, first, kind)

    def number(self, memory: Value, at: Value) -> Lanes:
        """One float, which spreads over the lanes that it meets."""
        place = self.at(memory, at)
        return VectorLanes(self.builder, [self.builder.load(place, typ=FLOAT, align=_FLOAT_BYTES)])

    def load(self, memory: Value, first: Value) -> Lanes:
        place, kind = self.at(memory, first), self.machine.vector(FLOAT)
        return VectorLanes(self.builder, [self.builder.load(place, typ=kind, align=_FLOAT_BYTES)])

    def store(self, value: Lanes, memory: Value, first: Value) -> None:
        (part,) = values_of(value)
        self.builder.store(part, self.at(memory, first), align=_FLOAT_BYTES)

    def weights(self, memory: Value, first: Value, source: Source) -> Lanes:
        """A source's weights as float32."""
        kind = ir.IntType(8 * source.nbytes)
        place = self.at(memory, first, kind)
        bits = self.builder.load(place, typ=self.machine.vector(kind), align=1)
        if kind != INT:
            bits = self.builder.zext(bits, self.machine.vector(INT))
        return source.to_float(self.machine, VectorLanes(self.builder, [bits]))

    def call(self, address: Value, kind: Value, *arguments: Value) -> None:
        """Call a function of C."""
        function = self.at(address, _LONG(0), _BYTE)
        function.type = kind  # to LLVM all pointers are alike; llvmlite asks what it points to
        self.builder.call(function, list(arguments))

    def fused(self, left: Lanes, right: Lanes, total: Lanes) -> Lanes:
        """Multiply and add, rounded once."""
        operands = [values_of(lanes) for lanes in (left, right, total)]
        ((a, b, c),) = zip(*spread(self.builder, operands), strict=True)
        return VectorLanes(self.builder, [call(self.builder, "fma", a, b, c)])


def _write_add(w: _Writer, values: list[Value], source: Source) -> None:
    raw, sums, up, down, row_blocks, panels, terms, scale = values
    width = w.product(panels, w.width)
    factor = VectorLanes(w.builder, [scale])
    with (
        w.spans(panels, _PANELS) as (start, end),
        w.count(row_blocks) as row_block,
        counting(w.builder, start, end) as panel,
    ):
        there = w.at(down, w.product(panel, terms, w.width))
        own = w.at(up, w.product(row_block, terms, ROWS))
        delta = [w.machine.variable(0.0) for _ in range(ROWS)]
        with w.count(terms) as term:
            direction = w.load(there, w.product(term, w.width))
            for row in range(ROWS):
                delta[row] += w.number(own, w.total(w.product(term, ROWS), row)) * direction
        for row in range(ROWS):
            place = w.product(w.total(w.product(row_block, ROWS), row), width)
            place = w.total(place, w.product(panel, w.width))
            w.store(w.weights(raw, place, source) * factor + delta[row], sums, place)


@dataclass(frozen=True, slots=True)
class _View:
    """The arguments of view()."""

    unpack: Value
    blocks: Value
    sums: Value
    down: Value
    seen: Value
    squares: Value
    rows: Value
    width: Value
    panels: Value
    block: Value
    block_bytes: Value


def _write_view(w: _Writer, v: _View, fuses: bool) -> None:
    tile = w.machine.memory(FLOAT, ROWS * _SPAN)
    squares = w.machine.variable(0.0), w.machine.variable(0.0)
    row_blocks = w.builder.sdiv(w.total(v.rows, ROWS - 1), _LONG(ROWS))
    with w.spans(v.width, _SPAN) as (start, end), w.count(row_blocks) as row_block:
        first = w.product(row_block, ROWS)
        last = w.total(first, ROWS)
        last = w.builder.select(w.builder.icmp_signed("<", last, v.rows), last, v.rows)
        with counting(w.builder, first, last) as row:
            own = w.at(tile, w.product(w.builder.sub(row, first), _SPAN))
            _write_error(w, v, own, (row, start, end), squares)
        with w.count(v.panels) as panel:
            _write_seen(w, v, tile, (panel, first, start, end), fuses)
    for number, total in enumerate(squares):
        w.store(total, v.squares, _LONG(number * w.width))


def _write_error(
    w: _Writer, v: _View, own: Value, where: tuple[Value, ...], squares: tuple[Variable, Variable]
) -> None:
    """A row's error in a span of columns, and its squares."""
    row, start, end = where
    first = w.total(w.product(row, v.width), start)
    count = w.builder.sub(end, start)
    offset = w.product(w.builder.sdiv(first, v.block), v.block_bytes)
    kind = ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER, _LONG])
    w.call(v.unpack, kind, w.at(v.blocks, offset, _BYTE), own, count)
    of_sums, of_errors = squares
    with counting(w.builder, _LONG(0), count, w.width) as column:
        weight = w.load(v.sums, w.total(first, column))
        error = w.load(own, column) - weight
        w.store(error, own, column)
        of_sums += weight * weight
        of_errors += error * error


def _write_seen(w: _Writer, v: _View, tile: Value, where: tuple[Value, ...], fuses: bool) -> None:
    """Add what a panel of `down` sees of a tile to what it saw in the spans before."""
    panel, first, start, end = where
    height = w.product(w.builder.sdiv(w.total(v.rows, ROWS - 1), _LONG(ROWS)), ROWS)
    there = w.at(v.down, w.product(w.total(w.product(panel, v.width), start), w.width))
    kept = w.at(v.seen, w.product(w.total(w.product(panel, height), first), w.width))
    fresh = w.builder.icmp_signed("==", start, _LONG(0))
    places = [_LONG(row * w.width) for row in range(ROWS)]
    sums = [w.machine.variable(_before(w, kept, place, fresh)) for place in places]
    with w.count(w.builder.sub(end, start)) as column:
        direction = w.load(there, w.product(column, w.width))
        for row, total in enumerate(sums):
            error = w.number(tile, w.total(column, row * _SPAN))
            if fuses:
                total.assign(w.fused(error, direction, total))
            else:
                total += error * direction
    for total, place in zip(sums, places, strict=True):
        w.store(total, kept, place)


def _before(w: _Writer, seen: Value, place: Value, fresh: Value) -> Lanes:
    """The sums so far: zero in the first span, whatever lies there."""
    (part,) = values_of(w.load(seen, place))
    zero = ir.Constant(part.type, [0.0] * w.width)
    return VectorLanes(w.builder, [w.builder.select(fresh, zero, part)])


def _write_copy(w: _Writer, values: list[Value]) -> None:
    source, target, count = values
    with counting(w.builder, _LONG(0), count, w.width) as first:
        w.store(w.load(source, first), target, first)


def _fuses(target: Target) -> bool:
    """Whether the processor multiplies and adds at once; LLVM would call a slow function else."""
    return "+fma" in target.features.split(",") or "64" not in platform.machine().lower()
