"""From what a search found to what a block stores; shared by the K types.

Scales are stored as small whole numbers, in units of an F16 for the whole super-block. Rounding
moves them, so every level is computed anew from the scales *as they are stored*. A sub-block so
small beside its neighbours that its stored scale became 0 keeps the levels of its search.
"""

from quantize.kernels.affine import Fit
from quantize.kernels.halves import to_half
from quantize.kernels.lanes import Array, Lanes, Machine, Table


def unit(k: Machine, value: Lanes) -> Lanes:
    """A super-block's unit as the bits of an F16; one that is too large for it is in doubt."""
    half = to_half(k, value)
    k.doubt((half & 0x7FFF) >= 0x7C00)
    return half


def in_units(k: Machine, value: Lanes, most: int) -> tuple[Lanes, Lanes]:
    """The unit that makes a super-block's largest value `most`, and each lane's value in it.

    A number of units is one byte, as ggml's uint8_t: what does not fit in it wraps.
    """
    largest = k.largest(value)
    inverse = k.select(largest > 0.0, most / largest, 0.0)
    units = k.nearest_int(inverse * value) & 0xFF
    return unit(k, largest / most), units


def affine_levels(k: Machine, fit: Fit, d: Lanes, dm: Lanes, most: int) -> Array:
    """The levels 0 to `most` of  x ~ d * q - dm."""
    kept = d.equals(0.0)

    def exact(x: Lanes) -> Lanes:
        return k.select(kept, fit.inverse * (x - fit.base), (x + dm) / d)

    k.check_range(exact(fit.low))
    k.check_range(exact(fit.high))
    q = k.array()
    for i in k.loop(0, k.layout.weights):
        q[i] = k.level(exact(k.weights[i]), 0, most)
    return q


def store_unit(k: Machine, offset: int, half: Table) -> None:
    """Store an F16, which all lanes of a super-block hold; little endian."""
    k.store(offset, half[0])
    k.store(offset + 1, half[0] >> 8)


class Levels:
    """Levels on their way into bytes: q[j] is those of sub-block j, as integers."""

    def __init__(self, k: Machine, levels: Array) -> None:
        self._k = k
        self._rows = k.rows(levels)

    def __getitem__(self, sub_block: int) -> Lanes:
        return self._k.truncated(self._rows[sub_block])
