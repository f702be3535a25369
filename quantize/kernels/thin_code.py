"""What the code of thin matrices is written with: a function, loops, and vectors in a memory.

Memories are addresses, and everything in them is counted in numbers from their first one on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from quantize.kernels.halves import Source
from quantize.kernels.lanes import Lanes, Layout
from quantize.kernels.vector_lanes import FLOAT, INT, Value, VectorLanes, values_of
from quantize.kernels.vectors import Shape, VectorMachine, counting

ROWS = 8  # in work side by side: enough sums to hide how long one takes, and registers for them
BYTE, SHORT, LONG, POINTER = ir.IntType(8), ir.IntType(16), ir.IntType(64), ir.PointerType()
_FLOAT_BYTES = 4


@contextmanager
def function(module: ir.Module, name: str, kinds: list[Value]) -> Iterator[Any]:
    """A function without result, ended after what is written inside the `with`."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder = ir.IRBuilder(function.append_basic_block())
    yield builder, function.args
    builder.ret_void()


class ThinWriter:
    """Reads and writes a vector, or a few abreast, at numbered floats of a memory."""

    def __init__(self, builder: ir.IRBuilder, width: int, abreast: int = 1) -> None:
        self.builder, self.width, self.lanes = builder, width, width * abreast
        shape = Shape(width, self.lanes)
        self.machine = VectorMachine(builder, Layout(1, 1, 1, ()), shape, None, None)

    def count(self, stop: Value) -> Any:
        """From 0 to before `stop`, which is not 0."""
        return counting(self.builder, LONG(0), stop)

    @contextmanager
    def spans(self, stop: Value, step: int) -> Iterator[tuple[Value, Value]]:
        """From 0 to `stop` in steps, of which the last may be shorter: where each begins, ends."""
        with counting(self.builder, LONG(0), stop, step) as start:
            end = self.total(start, step)
            inside = self.builder.icmp_signed("<", end, stop)
            yield start, self.builder.select(inside, end, stop)

    def product(self, first: Value, *factors: Value | int) -> Value:
        """All of them, multiplied."""
        for factor in factors:
            first = self.builder.mul(first, LONG(factor) if isinstance(factor, int) else factor)
        return first

    def total(self, first: Value, *terms: Value | int) -> Value:
        """All of them, added up."""
        for term in terms:
            first = self.builder.add(first, LONG(term) if isinstance(term, int) else term)
        return first

    def at(self, memory: Value, first: Value, kind: Value = FLOAT) -> Value:
        """The address of a number."""
        return self.machine.place(memory, first, kind)

    def number(self, memory: Value, at: Value) -> Lanes:
        """One float, which spreads over the lanes that it meets."""
        place = self.at(memory, at)
        return VectorLanes(self.builder, [self.builder.load(place, typ=FLOAT, align=_FLOAT_BYTES)])

    def load(self, memory: Value, first: Value) -> Lanes:
        """As many floats as there are lanes."""
        return VectorLanes(self.builder, self._parts(memory, first, FLOAT, _FLOAT_BYTES))

    def _parts(self, memory: Value, first: Value, kind: Value, align: int) -> list[Value]:
        vector = self.machine.vector(kind)
        places = [self.at(memory, at, kind) for at in self._firsts(first)]
        return [self.builder.load(place, typ=vector, align=align) for place in places]

    def _firsts(self, first: Value) -> list[Value]:
        return [self.total(first, at) for at in range(0, self.lanes, self.width)]

    def store(self, value: Lanes, memory: Value, first: Value) -> None:
        """The reverse of load()."""
        for part, at in zip(values_of(value), self._firsts(first), strict=True):
            self.builder.store(part, self.at(memory, at), align=_FLOAT_BYTES)

    def weights(self, memory: Value, first: Value, source: Source) -> Lanes:
        """A source's weights as float32."""
        kind = ir.IntType(8 * source.nbytes)
        parts = self._parts(memory, first, kind, 1)
        if kind != INT:
            parts = [self.builder.zext(part, self.machine.vector(INT)) for part in parts]
        return source.to_float(self.machine, VectorLanes(self.builder, parts))
