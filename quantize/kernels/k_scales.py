"""The scales that Q4_K and Q5_K share: 8 six-bit scales and 8 six-bit minima in 16 bytes.

byte  0  d      F16   largest scale / 63
      2  dmin   F16   largest minimum / 63
      4  the eight scales s and minima m, in units of d and dmin:

         bits    7 6     5 4 3 2 1 0
         4 + j   s[j+4]  s[j]             j = 0..3; the upper two bits of s[j+4]
         8 + j   m[j+4]  m[j]                       and of m[j+4]
         bits    7 6 5 4  3 2 1 0
        12 + j   m[j+4]   s[j+4]                    their lower four bits
"""

from quantize.kernels.affine import Fit
from quantize.kernels.halves import from_half
from quantize.kernels.lanes import Array, Lanes, Machine
from quantize.kernels.stored import affine_levels, in_units, store_unit


class Header:
    """The first 16 bytes of a super-block, and the levels that follow from them."""

    def __init__(self, k: Machine, fit: Fit, most: int) -> None:
        self._k = k
        d, scale = _six_bits(k, fit.scale)
        dmin, minimum = _six_bits(k, fit.minimum)
        self.levels: Array = affine_levels(
            k, fit, from_half(k, d) * k.number(scale), from_half(k, dmin) * k.number(minimum), most
        )
        self._d, self._scale = k.table(d), k.table(scale)
        self._dmin, self._minimum = k.table(dmin), k.table(minimum)

    def store(self) -> None:
        """Write the super-block's 16 bytes; inside blocks()."""
        s, m = self._scale, self._minimum
        store_unit(self._k, 0, self._d)
        store_unit(self._k, 2, self._dmin)
        for j in range(4):
            self._k.store(4 + j, s[j] | ((s[j + 4] >> 4) << 6))
            self._k.store(8 + j, m[j] | ((m[j + 4] >> 4) << 6))
            self._k.store(12 + j, (s[j + 4] & 15) | ((m[j + 4] & 15) << 4))


def _six_bits(k: Machine, value: Lanes) -> tuple[Lanes, Lanes]:
    half, units = in_units(k, value, 63)
    return half, k.select(units < 63, units, 63)
