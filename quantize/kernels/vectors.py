"""The vector machine: a kernel is traced once and becomes LLVM code for W lanes at a time.

    source bytes --decode--> floats in order --transpose--> weights[i][lane]      fill()
    search and scales: Lanes are W / VL vectors of VL numbers                     the kernel
    blocks(): a row is weights / VL vectors, a table's entry one number           the kernel

A *tile* is W lanes, one or more whole super-blocks; the function made is

    void kernel(const uint8_t *source, uint8_t *blocks, uint8_t *doubts, int64_t tiles)

`doubts` gets one byte per super-block, 0 where the result is sure. No fast-math flag is ever set:
LLVM then keeps every rounding and every order, and fuses no multiply with an add.

Which processor runs it, and how it is compiled, is jit.py's matter.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from quantize.kernels.block_kernel import BlockKernel
from quantize.kernels.halves import Source
from quantize.kernels.lanes import Array, Index, Lanes, Layout, Machine, Operand, Table, Variable
from quantize.kernels.vector_lanes import (
    FLOAT,
    INT,
    Value,
    VectorLanes,
    VectorVariable,
    call,
    constant,
    element,
    like,
    matched,
    spread,
    values_of,
)

_BYTE, _LONG, _POINTER = ir.IntType(8), ir.IntType(64), ir.PointerType()
_LINE = 64  # bytes of a cache line, and of the widest vector


@dataclass(frozen=True, slots=True)
class Shape:
    """How many lanes: `width` of a vector and `lanes` of a tile."""

    width: int
    lanes: int

    @classmethod
    def of(cls, width: int, block: BlockKernel) -> "Shape":
        """As many vectors as the kernel likes, or as one super-block needs."""
        return cls(width, max(block.in_flight * width, block.layout.sub_blocks))


class _Rows(Array):
    """Room for one tile: [weights][lanes] numbers."""

    def __init__(self, machine: "VectorMachine", memory: Value) -> None:
        self._machine = machine
        self.memory = memory

    def __getitem__(self, at: Index) -> Lanes:
        return self._machine.loaded(self.memory, self._first(at), self._machine.shape.lanes)

    def __setitem__(self, at: Index, value: Lanes) -> None:
        self._machine.keep(value, self.memory, self._first(at))

    def _first(self, at: Index) -> Value:
        return self._machine.builder.mul(_long(at), _LONG(self._machine.shape.lanes))


class _Spilled(Table):
    """One number per lane, in memory."""

    def __init__(self, machine: "VectorMachine", memory: Value, kind: Value) -> None:
        self._machine = machine
        self._memory = memory
        self._kind = kind

    def __getitem__(self, sub_block: int) -> Lanes:
        machine = self._machine
        place = machine.place(self._memory, machine.lane_of(sub_block), self._kind)
        return VectorLanes(machine.builder, [machine.builder.load(place, typ=self._kind)])


class _Ordered(Table):
    """One number per weight, in the source's order."""

    def __init__(self, machine: "VectorMachine", memory: Value) -> None:
        self._machine = machine
        self._memory = memory

    def __getitem__(self, sub_block: int) -> Lanes:
        machine, weights = self._machine, self._machine.layout.weights
        first = machine.builder.mul(machine.lane_of(sub_block), _LONG(weights))
        return machine.loaded(self._memory, first, weights)


class VectorMachine(Machine):
    """Writes a kernel's code for one tile: fill(), the kernel itself, tell_doubts().

    Args:
        builder: where the code goes.
        layout: of the block type.
        shape: lanes.
        blocks: where the tile's first packed block begins.
        doubts: where its first byte of doubt is.
    """

    def __init__(
        self, builder: ir.IRBuilder, layout: Layout, shape: Shape, blocks: Value, doubts: Value
    ) -> None:
        self.builder = builder
        self.layout = layout
        self.shape = shape
        self._blocks = blocks
        self._doubts = doubts
        self._block: Value = None
        self._doubt: Variable | None = None
        self.weights = self.array()

    # --- what Machine asks for

    def variable(self, value: Operand) -> Variable:
        parts = values_of(value) if isinstance(value, Lanes) else self._filled(value)
        slots = [self.memory(part.type) for part in parts]
        for part, slot in zip(parts, slots, strict=True):
            self.builder.store(part, slot)
        return VectorVariable(self.builder, slots)

    def array(self) -> Array:
        return _Rows(self, self.memory(FLOAT, self.shape.lanes * self.layout.weights))

    def select(self, where: Lanes, yes: Operand, no: Operand) -> Lanes:
        kind = yes if isinstance(yes, Lanes) else no
        masks, *both = spread(self.builder, [values_of(where), *matched(kind, yes, no)])
        parts = [self.builder.select(*three) for three in zip(masks, *both, strict=True)]
        return VectorLanes(self.builder, parts)

    def sqrt(self, value: Lanes) -> Lanes:
        return self._each(lambda part: call(self.builder, "sqrt", part), value)

    def bits(self, value: Lanes) -> Lanes:
        return self._each(lambda part: self.builder.bitcast(part, like(part.type, INT)), value)

    def floats(self, bits: Lanes) -> Lanes:
        return self._each(lambda part: self.builder.bitcast(part, like(part.type, FLOAT)), bits)

    def number(self, value: Lanes | Index) -> Lanes:
        if isinstance(value, Lanes):
            return self._each(lambda part: self.builder.sitofp(part, like(part.type, FLOAT)), value)
        return VectorLanes(self.builder, [self.builder.sitofp(_long(value), FLOAT)])

    def truncated(self, value: Lanes) -> Lanes:
        return self._each(lambda part: self.builder.fptosi(part, like(part.type, INT)), value)

    def places(self) -> Lanes:
        numbers = [lane % self.layout.sub_blocks for lane in range(self.shape.lanes)]
        width, kind = self.shape.width, self.vector(INT)
        parts = [numbers[at : at + width] for at in range(0, len(numbers), width)]
        return VectorLanes(self.builder, [ir.Constant(kind, part) for part in parts])

    def swap(self, value: Lanes, distance: int) -> Lanes:
        parts, width = values_of(value), self.shape.width
        if distance >= width:
            return VectorLanes(
                self.builder, [parts[i ^ (distance // width)] for i in range(len(parts))]
            )
        order = [lane ^ distance for lane in range(width)]
        return self._each(lambda part: self._shuffled(part, part, order), value)

    def loop(self, start: int, stop: int, unroll: int = 1) -> Iterator[Index]:
        with counting(self.builder, _LONG(start), _LONG(stop), unroll) as first:
            for step in range(unroll):
                yield self.builder.add(first, _LONG(step))

    def blocks(self) -> Iterator[None]:
        with counting(self.builder, _LONG(0), _LONG(self.blocks_in_tile)) as block:
            self._block = block
            yield
        self._block = None

    def level(self, value: Lanes, low: int, high: int) -> Lanes:
        return self.rounded(self.clamp(value, low, high))

    def doubt(self, where: Lanes) -> None:
        assert self._doubt is not None
        self._doubt.assign(1, where=where)

    def table(self, value: Lanes) -> Table:
        kind = element(values_of(value)[0].type)
        memory = self.memory(kind, self.shape.lanes)
        self.keep(value, memory, _LONG(0))
        return _Spilled(self, memory, kind)

    def rows(self, array: Array) -> Table:
        assert isinstance(array, _Rows)
        memory = self.memory(FLOAT, self.shape.lanes * self.layout.weights)
        self._transpose(array.memory, self.layout.weights, self.shape.lanes, memory)
        return _Ordered(self, memory)

    def store(self, offset: int, value: Lanes) -> None:
        start = self.builder.mul(self._block, _LONG(self.layout.nbytes))
        for part in values_of(value):
            place = self.place(self._blocks, self.builder.add(start, _LONG(offset)), _BYTE)
            self.builder.store(self.builder.trunc(part, like(part.type, _BYTE)), place, align=1)
            offset += getattr(part.type, "count", 1)

    # --- what a tile is made of

    @property
    def blocks_in_tile(self) -> int:
        return self.shape.lanes // self.layout.sub_blocks

    def fill(self, raw: Value, source: Source) -> None:
        """Decode a tile's weights and transpose them; no lane is in doubt yet."""
        self._doubt = self.variable(VectorLanes(self.builder, self._filled(0, INT)))
        kind = ir.IntType(8 * source.nbytes)
        count = self.shape.lanes * self.layout.weights
        ordered = self.memory(FLOAT, count)
        with counting(self.builder, _LONG(0), _LONG(count), self.shape.width) as first:
            place = self.place(raw, first, kind)
            bits = self.builder.load(place, typ=self.vector(kind), align=1)
            if kind != INT:
                bits = self.builder.zext(bits, self.vector(INT))
            self.keep(source.to_float(self, VectorLanes(self.builder, [bits])), ordered, first)
        assert isinstance(self.weights, _Rows)
        self._transpose(ordered, self.shape.lanes, self.layout.weights, self.weights.memory)

    def tell_doubts(self) -> None:
        """Write a byte per super-block: whether a lane of it is in doubt."""
        assert self._doubt is not None
        any_lane = self.table(self.across(self._doubt, lambda a, b: a | b))
        for _ in self.blocks():
            part = values_of(any_lane[0])[0]
            place = self.place(self._doubts, self._block, _BYTE)
            self.builder.store(self.builder.trunc(part, _BYTE), place)

    def lane_of(self, sub_block: int) -> Value:
        """The lane of a sub-block of the super-block at hand."""
        first = self.builder.mul(self._block, _LONG(self.layout.sub_blocks))
        return self.builder.add(first, _LONG(sub_block))

    def _transpose(self, source: Value, rows: int, columns: int, target: Value) -> None:
        """Turn squares of VL x VL numbers, each in log2(VL) rounds of interleaving."""
        width = self.shape.width
        with (
            counting(self.builder, _LONG(0), _LONG(rows), width) as row,
            counting(self.builder, _LONG(0), _LONG(columns), width) as column,
        ):
            square = []
            for step in range(width):
                start = self.builder.mul(self.builder.add(row, _LONG(step)), _LONG(columns))
                square += values_of(self.loaded(source, self.builder.add(start, column), width))
            for step, part in enumerate(self._turned(square)):
                start = self.builder.mul(self.builder.add(column, _LONG(step)), _LONG(rows))
                turned = VectorLanes(self.builder, [part])
                self.keep(turned, target, self.builder.add(start, row))

    def _turned(self, square: list[Value]) -> list[Value]:
        width = self.shape.width
        pairs = [(lane // 2) + width * (lane % 2) for lane in range(2 * width)]
        for _ in range(width.bit_length() - 1):
            both = zip(square[: width // 2], square[width // 2 :], strict=True)
            square = [
                self._shuffled(one, other, order)
                for one, other in both
                for order in (pairs[:width], pairs[width:])
            ]
        return square

    # --- the builder's plainer side

    def memory(self, kind: Value, count: int = 1) -> Value:
        """Memory on the stack, asked for once, at the function's start."""
        with self.builder.goto_entry_block():
            slot = self.builder.alloca(ir.ArrayType(kind, count) if count > 1 else kind)
        slot.align = _LINE
        slot.type = _POINTER  # opaque, as LLVM's own; llvmlite would make it one to `kind`
        return slot

    def place(self, memory: Value, at: Value, kind: Value) -> Value:
        return self.builder.gep(memory, [at], source_etype=kind)

    def loaded(self, memory: Value, first: Value, count: int) -> Lanes:
        """`count` neighbouring floats from the `first` on, which begins a vector."""
        kind, size = self.vector(FLOAT), 4 * self.shape.width
        places = self._places(memory, first, count, FLOAT)
        loads = [self.builder.load(place, typ=kind, align=size) for place in places]
        return VectorLanes(self.builder, loads)

    def keep(self, value: Lanes, memory: Value, first: Value) -> None:
        """The reverse of loaded()."""
        parts, size = values_of(value), 4 * self.shape.width
        kind = element(parts[0].type)
        places = self._places(memory, first, len(parts) * self.shape.width, kind)
        for part, place in zip(parts, places, strict=True):
            self.builder.store(part, place, align=size)

    def _places(self, memory: Value, first: Value, count: int, kind: Value) -> list[Value]:
        steps = range(0, count, self.shape.width)
        return [self.place(memory, self.builder.add(first, _LONG(at)), kind) for at in steps]

    def vector(self, kind: Value) -> Value:
        return ir.VectorType(kind, self.shape.width)

    def _filled(self, value: float, kind: Value = FLOAT) -> list[Value]:
        vectors = self.shape.lanes // self.shape.width
        return [constant(self.vector(kind), value)] * vectors

    def _shuffled(self, one: Value, other: Value, order: Sequence[int]) -> Value:
        mask = ir.Constant(ir.VectorType(INT, len(order)), list(order))
        return self.builder.shuffle_vector(one, other, mask)

    def _each(self, change: Any, value: Lanes) -> Lanes:
        return VectorLanes(self.builder, [change(part) for part in values_of(value)])


def _long(at: Index) -> Value:
    return _LONG(at) if isinstance(at, int) else at


@contextmanager
def counting(builder: ir.IRBuilder, start: Value, stop: Value, step: int = 1) -> Iterator[Value]:
    """A loop around the code written inside the `with`; it runs at least once."""
    before = builder.block
    body = builder.append_basic_block()
    builder.branch(body)
    builder.position_at_end(body)
    count = builder.phi(_LONG)
    count.add_incoming(start, before)
    yield count
    following = builder.add(count, _LONG(step))
    count.add_incoming(following, builder.block)
    after = builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", following, stop), body, after)
    builder.position_at_end(after)
