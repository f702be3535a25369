"""Small floats, bit by bit: F16 both ways, BF16 and the two FP8 formats to float32.

Integer arithmetic on lanes, so the same lines serve every machine, with or without instructions
for F16. Subnormal numbers go through a sum with a number of the right size instead of through
float32's own subnormals, which some processors are slow at.

    F16    seeeeemm mmmmmmmm   bias 15     F8_E5M2   seeeeemm   the upper byte of an F16
    BF16   seeeeeee emmmmmmm   bias 127    F8_E4M3   seeeemmm   bias 7, no infinity, s1111111 = NaN
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from quantize.kernels.lanes import Lanes, Machine

_HALF = 0x3F000000  # the bits of 0.5, whose last place is worth 2^-24: F16's smallest number
_INFINITE = 0x7F800000


def to_half(k: Machine, value: Lanes) -> Lanes:
    """The bits of the nearest F16, ties to even; beyond 65504 infinity, any NaN becomes 7E00."""
    bits = k.bits(value)
    size = bits & 0x7FFFFFFF
    normal = ((size + 0xFFF + ((size >> 13) & 1)) >> 13) - (112 << 10)
    subnormal = k.bits(k.floats(size) + 0.5) - _HALF
    half = k.select(size < 0x38800000, subnormal, normal)
    half = k.select(size >= 0x477FF000, 0x7C00, half)
    half = k.select(size > _INFINITE, 0x7E00, half)
    return half | ((bits >> 16) & 0x8000)


def from_half(k: Machine, half: Lanes) -> Lanes:
    """The float32 that an F16 stands for; exact."""
    size = half & 0x7FFF
    normal = (size << 13) + (112 << 23)
    subnormal = k.bits(k.floats(size + _HALF) - 0.5)
    bits = k.select(size < 0x400, subnormal, normal)
    bits = k.select(size < 0x7C00, bits, (size << 13) | _INFINITE)
    return k.floats(bits | ((half & 0x8000) << 16))


def round_to_half(k: Machine, value: Lanes) -> Lanes:
    """The nearest F16, as float32."""
    return from_half(k, to_half(k, value))


def from_bf16(k: Machine, raw: Lanes) -> Lanes:
    """BF16 is the upper half of float32."""
    return k.floats(raw << 16)


def from_e5m2(k: Machine, raw: Lanes) -> Lanes:
    """F8_E5M2 is the upper half of F16."""
    return from_half(k, raw << 8)


def from_e4m3(k: Machine, raw: Lanes) -> Lanes:
    """F8_E4M3 (the "FN" kind, as in PyTorch and safetensors)."""
    size = raw & 0x7F
    normal = (size << 20) + (120 << 23)
    subnormal = k.bits(k.floats(size + 0x46800000) - 16384.0)  # steps of 2^-9
    bits = k.select(size < 8, subnormal, normal)
    bits = k.select(size < 0x7F, bits, 0x7FC00000)
    return k.floats(bits | ((raw & 0x80) << 24))


@dataclass(frozen=True, slots=True)
class Source:
    """How weights lie in a source file: bytes each, and how their bits become float32."""

    nbytes: int
    to_float: Callable[[Machine, Lanes], Lanes]


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "F32": Source(4, lambda k, raw: k.floats(raw)),
        # An F32 source whose recipe goes through F16 (quantize/recipe.py).
        "F32 as F16": Source(4, lambda k, raw: round_to_half(k, k.floats(raw))),
        "F16": Source(2, from_half),
        "BF16": Source(2, from_bf16),
        "F8_E5M2": Source(1, from_e5m2),
        "F8_E4M3": Source(1, from_e4m3),
    }
)
