"""The small language in which the kernels are written: arithmetic on lanes.

A *lane* is one sub-block of a tensor, and lanes never look at each other unless swap() says so:
`total += w * x[i]` adds, in each of a thousand sub-blocks, that sub-block's own numbers in their
own order. Bit-exactness rests on this: a lane computes what ggml's scalar C computes, operation by
operation, each rounded to float32 by itself (no fused multiply-add, nothing reassociated).

Two machines speak the language, and a kernel cannot tell which one it runs on:

    vectors.VectorMachine   writes LLVM code for W lanes at a time; fast
    arrays.ArrayMachine     computes with numpy at once; exact for every input, needs no compiler

A kernel has two halves. In the first, lanes are sub-blocks: `k.weights[i]` is weight i of each. In
the second (`for _ in k.blocks():`), super-blocks come one after the other and their bytes are
stored: `k.table(v)[j]` is what lane j had found, `k.rows(a)[j]` all 16 or 32 numbers of its array.

Loops are written with k.loop(). On the vector machine its body is recorded once, so everything
that changes inside must be a k.variable(), changed by `+=` or assign().

This file knows no machine and no block type.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TypeAlias

Operand: TypeAlias = "Lanes | float"
Index: TypeAlias = object  # where a loop stands; only to be handed back to the machine

_ROUNDER = 12582912.0  # 1.5 * 2^23: adding it leaves no room for a fraction in a float32


@dataclass(frozen=True, slots=True)
class Layout:
    """A packed block: `sub_blocks` of `weights` neighbouring weights each, in `nbytes` bytes.

    `units` are the bytes at which its F16s lie.
    """

    sub_blocks: int
    weights: int
    nbytes: int
    units: tuple[int, ...]

    @property
    def size(self) -> int:
        """Weights in a block."""
        return self.sub_blocks * self.weights


class Lanes(ABC):
    """One value per lane: all float32, all int32, or all truth values.

    Right shifts fill with zeros; comparisons of floats are false for NaN, differs() is true.
    """

    @abstractmethod
    def binary(self, name: str, left: Operand, right: Operand) -> "Lanes":
        """Apply an operation of this table's names; one of the operands is self."""

    @abstractmethod
    def __neg__(self) -> "Lanes": ...

    @abstractmethod
    def __abs__(self) -> "Lanes": ...

    @abstractmethod
    def __invert__(self) -> "Lanes": ...

    def __add__(self, other: Operand) -> "Lanes":
        return self.binary("+", self, other)

    def __radd__(self, other: Operand) -> "Lanes":
        return self.binary("+", other, self)

    def __sub__(self, other: Operand) -> "Lanes":
        return self.binary("-", self, other)

    def __rsub__(self, other: Operand) -> "Lanes":
        return self.binary("-", other, self)

    def __mul__(self, other: Operand) -> "Lanes":
        return self.binary("*", self, other)

    def __rmul__(self, other: Operand) -> "Lanes":
        return self.binary("*", other, self)

    def __truediv__(self, other: Operand) -> "Lanes":
        return self.binary("/", self, other)

    def __rtruediv__(self, other: Operand) -> "Lanes":
        return self.binary("/", other, self)

    def __and__(self, other: Operand) -> "Lanes":
        return self.binary("&", self, other)

    def __or__(self, other: Operand) -> "Lanes":
        return self.binary("|", self, other)

    def __lshift__(self, other: int) -> "Lanes":
        return self.binary("<<", self, other)

    def __rshift__(self, other: int) -> "Lanes":
        return self.binary(">>", self, other)

    def __lt__(self, other: Operand) -> "Lanes":
        return self.binary("<", self, other)

    def __le__(self, other: Operand) -> "Lanes":
        return self.binary("<=", self, other)

    def __gt__(self, other: Operand) -> "Lanes":
        return self.binary(">", self, other)

    def __ge__(self, other: Operand) -> "Lanes":
        return self.binary(">=", self, other)

    def equals(self, other: Operand) -> "Lanes":
        """Where both are the same number."""
        return self.binary("==", self, other)

    def differs(self, other: Operand) -> "Lanes":
        """Where they are not; NaN differs from everything."""
        return self.binary("!=", self, other)


class Variable(Lanes):
    """Lanes that change in place."""

    @abstractmethod
    def assign(self, value: Operand, where: Lanes | None = None) -> None:
        """Take over a value, in all lanes or where `where` is true."""

    def __iadd__(self, other: Operand) -> Self:
        self.assign(self + other)
        return self


class Array(ABC):
    """Lanes by number: one row for each weight of a sub-block.

    What was read from a row is not to be used after the row was written.
    """

    @abstractmethod
    def __getitem__(self, at: Index) -> Lanes: ...

    @abstractmethod
    def __setitem__(self, at: Index, value: Lanes) -> None: ...


class Table(ABC):
    """What lanes had found, seen from their super-block; its entries are read inside blocks().

    An entry is one number, which spreads when it meets several, or a sub-block's row of numbers.
    """

    @abstractmethod
    def __getitem__(self, sub_block: int) -> Lanes: ...


class Machine(ABC):
    """What runs a kernel. `weights` are the source's, as float32."""

    layout: Layout
    weights: Array

    # --- values

    @abstractmethod
    def variable(self, value: Operand) -> Variable:
        """A variable that starts as `value`; a plain number makes it float32."""

    @abstractmethod
    def array(self) -> Array:
        """Room for one number per weight, undefined at first."""

    @abstractmethod
    def select(self, where: Lanes, yes: Operand, no: Operand) -> Lanes:
        """`yes` where it is true, else `no`; one of them at least is Lanes."""

    @abstractmethod
    def sqrt(self, value: Lanes) -> Lanes:
        """The square root, correctly rounded."""

    @abstractmethod
    def bits(self, value: Lanes) -> Lanes:
        """The bits of floats, as integers."""

    @abstractmethod
    def floats(self, bits: Lanes) -> Lanes:
        """The floats that have these bits."""

    @abstractmethod
    def number(self, value: Lanes | Index) -> Lanes:
        """An integer, or a loop's index, as float32."""

    @abstractmethod
    def truncated(self, value: Lanes) -> Lanes:
        """Floats below 2^31 as integers, without their fraction."""

    @abstractmethod
    def places(self) -> Lanes:
        """Which sub-block of its super-block a lane is, as integers."""

    @abstractmethod
    def swap(self, value: Lanes, distance: int) -> Lanes:
        """Each lane gets the value of the lane whose number differs in this one bit."""

    # --- control

    @abstractmethod
    def loop(self, start: int, stop: int, unroll: int = 1) -> Iterator[Index]:
        """Count from `start` to below `stop`; `unroll` divides their distance."""

    @abstractmethod
    def blocks(self) -> Iterator[None]:
        """Go through the super-blocks, so that they can be stored."""

    # --- rounding

    @abstractmethod
    def level(self, value: Lanes, low: int, high: int) -> Lanes:
        """nearest_int() between two bounds, as float32.

        The vector machine is right up to 2^22 only: check_range() tells it where that is unsure.
        """

    @abstractmethod
    def doubt(self, where: Lanes) -> None:
        """Say in which lanes the vector machine's result may not be ggml's.

        Super-blocks with such a lane are done once more, by the array machine, which is exact and
        needs no doubt. Every NaN and every infinite weight must come under doubt.
        """

    # --- super-blocks

    @abstractmethod
    def table(self, value: Lanes) -> Table:
        """Keep one number per sub-block for blocks()."""

    @abstractmethod
    def rows(self, array: Array) -> Table:
        """Keep one number per weight for blocks(), those of a sub-block side by side."""

    @abstractmethod
    def store(self, offset: int, value: Lanes) -> None:
        """Store the low byte of each integer into the block, from byte `offset`."""

    # --- composed

    def nearest_int(self, value: Lanes) -> Lanes:
        """Round half to even; beyond 2^22 it wraps, as the function of this name in ggml."""
        return (self.bits(value + _ROUNDER) & 0x007FFFFF) - 0x00400000

    def exact_level(self, value: Lanes, low: int, high: int) -> Lanes:
        """nearest_int() between two bounds as float32, right for every value, but slower."""
        return self.number(self.clamp(self.nearest_int(value), low, high))

    def rounded(self, value: Lanes) -> Lanes:
        """Round half to even, as a float; right up to 2^22."""
        return (value + _ROUNDER) - _ROUNDER

    def clamp(self, value: Lanes, low: int, high: int) -> Lanes:
        """Bounded on both sides."""
        value = self.select(value < high, value, high)
        return self.select(value > low, value, low)

    def check_range(self, value: Lanes, where: Lanes | None = None) -> None:
        """Doubt lanes in which level() of `value` might be wrong."""
        wrong = ~(abs(value) <= 4194303.0)
        self.doubt(wrong if where is None else where & wrong)

    def check_finite(self, value: Lanes) -> None:
        """Doubt lanes whose sum is not finite, as when a weight was not."""
        self.doubt(~(abs(value) < float("inf")))

    def across(self, value: Lanes, choose: Callable[[Lanes, Lanes], Lanes]) -> Lanes:
        """Combine the lanes of each super-block; each of them gets the result.

        `choose` must not mind the order: a maximum, or "any of".
        """
        distance = 1
        while distance < self.layout.sub_blocks:
            value = choose(value, self.swap(value, distance))
            distance *= 2
        return value

    def largest(self, value: Lanes) -> Lanes:
        """The largest value of each super-block, at least 0; NaN does not count."""
        positive = self.select(value > 0.0, value, 0.0)
        return self.across(positive, lambda a, b: self.select(a > b, a, b))

    def farthest(self, value: Lanes) -> Lanes:
        """The value farthest from 0 in each super-block, the first such; NaN does not count."""
        size = self.select(abs(value) > 0.0, abs(value), 0.0)
        most = self.largest(size)
        last = self.layout.sub_blocks
        place = self.select(size.equals(most), self.places(), last)
        first = self.across(place, lambda a, b: self.select(a < b, a, b))
        here = self.places().equals(first)
        chosen = self.select(here, self.select(size > 0.0, value, 0.0), 0.0)
        return self.across(chosen, lambda a, b: self.select(a.differs(0.0), a, b))
