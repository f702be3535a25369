"""Lanes as LLVM values: what an operation on them becomes.

Lanes are one or more vectors, or a single number that spreads over vectors when it meets them. No
fast-math flag is set on any operation.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from quantize.kernels.lanes import Lanes, Operand, Variable

INT, FLOAT = ir.IntType(32), ir.FloatType()
_FLOAT_CODES = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_INT_CODES = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "<<": "shl",
    ">>": "lshr",
    "&": "and_",
    "|": "or_",
}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")

Value = Any  # llvmlite's values carry no types for mypy


class VectorLanes(Lanes):
    """One or more vectors; or a single number, which spreads when it meets vectors."""

    def __init__(self, builder: ir.IRBuilder, parts: Sequence[Value]) -> None:
        self.builder = builder
        self._parts = list(parts)

    @property
    def parts(self) -> list[Value]:
        """The vectors, or the number."""
        return self._parts

    def binary(self, name: str, left: Operand, right: Operand) -> Lanes:
        pairs = zip(*matched(self, left, right), strict=True)
        return VectorLanes(self.builder, [self._one(name, a, b) for a, b in pairs])

    def _one(self, name: str, left: Value, right: Value) -> Value:
        floats = element(left.type) == FLOAT
        if name in _COMPARISONS and floats:
            compare = self.builder.fcmp_unordered if name == "!=" else self.builder.fcmp_ordered
            return compare(name, left, right)
        if name in _COMPARISONS:
            return self.builder.icmp_signed(name, left, right)
        codes = _FLOAT_CODES if floats else _INT_CODES
        return getattr(self.builder, codes[name])(left, right)

    def __neg__(self) -> Lanes:
        return VectorLanes(self.builder, [self.builder.fneg(part) for part in self.parts])

    def __abs__(self) -> Lanes:
        return VectorLanes(self.builder, [call(self.builder, "fabs", part) for part in self.parts])

    def __invert__(self) -> Lanes:
        return VectorLanes(self.builder, [self.builder.not_(part) for part in self.parts])


class VectorVariable(VectorLanes, Variable):
    """Lanes in memory, which LLVM turns into registers."""

    def __init__(self, builder: ir.IRBuilder, slots: Sequence[Value]) -> None:
        super().__init__(builder, ())
        self._slots = slots

    @property
    def parts(self) -> list[Value]:
        return [self.builder.load(slot, typ=slot.allocated_type) for slot in self._slots]

    def assign(self, value: Operand, where: Lanes | None = None) -> None:
        old = VectorLanes(self.builder, self.parts)
        new = matched(old, old, value)[1]
        if where is not None:
            masks = values_of(where)
            new = [self.builder.select(*three) for three in zip(masks, new, old.parts, strict=True)]
        for part, slot in zip(new, self._slots, strict=True):
            self.builder.store(part, slot)


def values_of(value: Lanes) -> list[Value]:
    """The LLVM values of lanes."""
    assert isinstance(value, VectorLanes)
    return value.parts


def element(kind: Value) -> Value:
    """The type of one number."""
    return kind.element if isinstance(kind, ir.VectorType) else kind


def like(kind: Value, element: Value) -> Value:
    """The type of as many numbers of another kind."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def constant(kind: Value, value: float) -> Value:
    """A number, or a vector full of it."""
    number = float(value) if element(kind) == FLOAT else int(value)
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)
    return ir.Constant(kind, number)


def matched(kind: "Operand", left: Operand, right: Operand) -> list[list[Value]]:
    """Both operands as equally many values of equal types."""
    assert isinstance(kind, VectorLanes)
    parts = kind.parts
    both = [
        values_of(operand)
        if isinstance(operand, Lanes)
        else [constant(p.type, operand) for p in parts]
        for operand in (left, right)
    ]
    return spread(kind.builder, both)


def spread(builder: ir.IRBuilder, operands: list[list[Value]]) -> list[list[Value]]:
    """Repeat single numbers as often as the others have places."""
    model = max(operands, key=lambda parts: (isinstance(parts[0].type, ir.VectorType), len(parts)))
    return [_widened(builder, parts, model) for parts in operands]


def _widened(builder: ir.IRBuilder, parts: list[Value], model: list[Value]) -> list[Value]:
    kind = model[0].type
    if not isinstance(kind, ir.VectorType) or isinstance(parts[0].type, ir.VectorType):
        return parts
    vector = ir.VectorType(parts[0].type, kind.count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), parts[0], INT(0))
    zeros = ir.Constant(ir.VectorType(INT, kind.count), [0] * kind.count)
    return [builder.shuffle_vector(first, first, zeros)] * len(model)


def call(builder: ir.IRBuilder, name: str, *parts: Value) -> Value:
    """Call one of LLVM's own functions on values of one type."""
    kind = parts[0].type
    many = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    name = f"llvm.{name}.{many}f32"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(kind, [kind] * len(parts)), name
    )
    return builder.call(function, parts)
