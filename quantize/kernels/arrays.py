"""The array machine: kernels computed by numpy, exact for every input, on any processor.

It is what super-blocks in doubt are done with, and the whole quantiser where LLVM is not to be
had. float32 in numpy is IEEE's, one rounding per operation, so the bits are those of ggml's C. All
super-blocks are computed at once: an operation on lanes is one call for thousands of them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quantize.kernels.halves import SOURCES
from quantize.kernels.lanes import Array, Index, Lanes, Layout, Machine, Operand, Table, Variable

Bytes: TypeAlias = NDArray[np.uint8]
Values: TypeAlias = NDArray[Any]

_UNSIGNED = {1: "<u1", 2: "<u2", 4: "<u4"}


class ArrayLanes(Variable):
    """Lanes in an array; the last axes may be broadcast."""

    __slots__ = ("values",)

    def __init__(self, values: Values) -> None:
        self.values = values

    def binary(self, name: str, left: Operand, right: Operand) -> Lanes:
        return ArrayLanes(_OPERATIONS[name](self.like(left), self.like(right)))

    def like(self, value: Operand) -> Any:
        """A number in this one's kind; lanes as they are."""
        if isinstance(value, ArrayLanes):
            return value.values
        if self.values.dtype == np.int32:
            return np.uint32(_plain(value) & 0xFFFFFFFF).view(np.int32)
        return np.float32(_plain(value))

    def __neg__(self) -> Lanes:
        return ArrayLanes(-self.values)

    def __abs__(self) -> Lanes:
        return ArrayLanes(abs(self.values))

    def __invert__(self) -> Lanes:
        return ArrayLanes(~self.values)

    def assign(self, value: Operand, where: Lanes | None = None) -> None:
        np.copyto(self.values, self.like(value), where=True if where is None else _values(where))


def _plain(value: Operand) -> Any:
    assert not isinstance(value, Lanes)
    return value


def _values(lanes: Lanes) -> Values:
    assert isinstance(lanes, ArrayLanes)
    return lanes.values


def _shifted_right(value: Values, count: Values) -> Values:
    return (value.view(np.uint32) >> count.view(np.uint32)).view(np.int32)


_OPERATIONS: Mapping[str, Callable[[Values, Values], Values]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
    "&": np.bitwise_and, "|": np.bitwise_or, "<<": np.left_shift, ">>": _shifted_right,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


class _Rows(Array):
    def __init__(self, values: Values) -> None:
        self.values = values  # (weights of a sub-block, lanes)

    def __getitem__(self, at: Index) -> Lanes:
        return ArrayLanes(self.values[at])  # type: ignore[call-overload] # numpy takes all of Index

    def __setitem__(self, at: Index, value: Lanes) -> None:
        self.values[at] = _values(value)  # type: ignore[call-overload] # likewise


class _Columns(Table):
    def __init__(self, values: Values) -> None:
        self._values = values  # (super-blocks, sub-blocks, numbers)

    def __getitem__(self, sub_block: int) -> Lanes:
        return ArrayLanes(self._values[:, sub_block])


class ArrayMachine(Machine):
    """Runs a kernel on float32 weights, several whole super-blocks.

    Args:
        layout: of the type.
        weights: the weights, flat.
        out: (super-blocks, bytes of a block).
    """

    def __init__(self, layout: Layout, weights: NDArray[np.float32], out: Bytes) -> None:
        self.layout = layout
        lanes = np.ascontiguousarray(weights.reshape(-1, layout.weights).T)
        self.weights = _Rows(lanes)
        self._shape = lanes.shape
        self._out = out

    def variable(self, value: Operand) -> Variable:
        if isinstance(value, ArrayLanes):
            return ArrayLanes(value.values.copy())
        return ArrayLanes(np.full(self._shape[1], value, np.float32))

    def array(self) -> Array:
        return _Rows(np.empty(self._shape, np.float32))

    def select(self, where: Lanes, yes: Operand, no: Operand) -> Lanes:
        kind = yes if isinstance(yes, ArrayLanes) else no
        assert isinstance(kind, ArrayLanes)
        return ArrayLanes(np.where(_values(where), kind.like(yes), kind.like(no)))

    def sqrt(self, value: Lanes) -> Lanes:
        return ArrayLanes(np.sqrt(_values(value)))

    def bits(self, value: Lanes) -> Lanes:
        return ArrayLanes(_values(value).view(np.int32))

    def floats(self, bits: Lanes) -> Lanes:
        return ArrayLanes(_values(bits).view(np.float32))

    def number(self, value: Lanes | Index) -> Lanes:
        whole = value.values if isinstance(value, ArrayLanes) else np.array(value)
        return ArrayLanes(whole.astype(np.float32))

    def truncated(self, value: Lanes) -> Lanes:
        return ArrayLanes(_values(value).astype(np.int32))

    def places(self) -> Lanes:
        return ArrayLanes(np.arange(self._shape[1], dtype=np.int32) % self.layout.sub_blocks)

    def swap(self, value: Lanes, distance: int) -> Lanes:
        pairs = _values(value).reshape(-1, 2, distance)
        return ArrayLanes(pairs[:, ::-1].reshape(-1))

    def loop(self, start: int, stop: int, unroll: int = 1) -> Iterator[Index]:
        yield from range(start, stop)

    def blocks(self) -> Iterator[None]:
        yield

    def level(self, value: Lanes, low: int, high: int) -> Lanes:
        return self.exact_level(value, low, high)

    def doubt(self, where: Lanes) -> None:
        """Nothing is in doubt here."""

    def table(self, value: Lanes) -> Table:
        return _Columns(_values(value).reshape(-1, self.layout.sub_blocks, 1))

    def rows(self, array: Array) -> Table:
        assert isinstance(array, _Rows)
        return _Columns(array.values.T.reshape(-1, self.layout.sub_blocks, self.layout.weights))

    def store(self, offset: int, value: Lanes) -> None:
        data = _values(value).astype(np.uint8)
        self._out[:, offset : offset + data.shape[1]] = data


def decoded(raw: Bytes, source: str) -> NDArray[np.float32]:
    """The float32 weights that a source's bytes stand for (names: halves.SOURCES)."""
    kind = SOURCES[source]
    bits = ArrayLanes(raw.view(_UNSIGNED[kind.nbytes]).astype(np.uint32).view(np.int32))
    machine = ArrayMachine(Layout(1, 1, 1, ()), np.empty(0, np.float32), np.empty((0, 1), np.uint8))
    with np.errstate(all="ignore"):
        return _values(kind.to_float(machine, bits)).view(np.float32)
