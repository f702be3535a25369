"""Q3_K: 256 weights in 110 bytes, 3.4375 bits each.

A super-block is 16 sub-blocks of 16 weights, each with a scale of six bits in units of the
super-block's F16. There is no minimum: a weight is  d * (scale - 32) * (q - 4),  q from 0 to 7.

    byte   0   upper bits:  i    bit g = bit 2 of q of weight 32 g + i of the super-block
    byte  32   lower two bits; for half h = 0, 1 and part p = 0, 1:
               32 + 32 h + 16 p + i    weight i of sub-blocks 8h + p, + 2, + 4, + 6,
                                       from the lowest
    byte  96   lower four bits of the scales:   96 + j    scale j | scale j + 8 << 4     j = 0..7
    byte 104   upper two:   104 + j    scales j, j + 4, j + 8, j + 12, from the lowest   j = 0..3
    byte 108   d      F16   the scale farthest from zero / -32

The search starts from 4 levels on the largest weight's side, then goes over the weights up to five
times: each takes the level that would be best for the scale that all the others want, if with it
(sum w x q)^2 / (sum w q q)  grows. Errors count as the square of their weight: w = x * x.

ggml: quantize_row_q3_K_ref, make_q3_quants.
"""

from dataclasses import dataclass

from quantize.kernels.halves import from_half
from quantize.kernels.lanes import Array, Lanes, Layout, Machine
from quantize.kernels.stored import Levels, store_unit, unit

LAYOUT = Layout(sub_blocks=16, weights=16, nbytes=110, units=(108,))
IN_FLIGHT = 4  # a weight's level waits for that of the one before
NOTHING = 1e-15  # smaller is as good as zero (ggml's GROUP_MAX_EPS)


@dataclass(frozen=True, slots=True)
class Fit:
    """x ~ scale * levels, levels from -4 to 3; `size` is the lane's largest |x|."""

    scale: Lanes
    levels: Array
    size: Lanes
    zero: Lanes


def kernel(k: Machine) -> None:
    """Pack super-blocks."""
    fit = search(k)
    far = k.farthest(fit.scale)
    some = far.differs(0.0)
    inverse = -32.0 / far
    units = _signed_byte(k, k.nearest_int(inverse * fit.scale))
    units = k.select(some, k.clamp(units, -32, 31) + 32, 0)
    d = unit(k, k.select(some, 1.0 / inverse, 0.0))
    levels = final_levels(k, fit, from_half(k, d) * k.number(units - 32))

    q, s, d_at = Levels(k, levels), k.table(units), k.table(d)
    for _ in k.blocks():
        for part in range(2):
            upper = q[part] >> 2
            for g in range(1, 8):
                upper = upper | ((q[2 * g + part] >> 2) << g)
            k.store(16 * part, upper)
            for half in range(2):
                j = 8 * half + part
                low = [(q[j + 2 * n] & 3) << 2 * n for n in range(4)]
                k.store(32 + 32 * half + 16 * part, low[0] | low[1] | low[2] | low[3])
        for j in range(8):
            k.store(96 + j, (s[j] & 15) | ((s[j + 8] & 15) << 4))
        for j in range(4):
            high = [s[j + 4 * n] >> 4 << 2 * n for n in range(4)]
            k.store(104 + j, high[0] | high[1] | high[2] | high[3])
        store_unit(k, 108, d_at)


def search(k: Machine) -> Fit:
    """The best scale of each lane."""
    x, n = k.weights, k.layout.weights
    size, largest = k.variable(0.0), k.variable(0.0)
    w, wx, levels = k.array(), k.array(), k.array()
    for i in k.loop(0, n):
        larger = abs(x[i]) > size
        size.assign(abs(x[i]), where=larger)
        largest.assign(x[i], where=larger)
        w[i] = x[i] * x[i]
        wx[i] = w[i] * x[i]
    zero = size < NOTHING

    inverse = -4.0 / largest
    sum_xq, sum_qq = k.variable(0.0), k.variable(0.0)
    for i in k.loop(0, n):
        q = levels[i] = k.level(inverse * x[i], -4, 3)
        sum_xq += wx[i] * q
        sum_qq += w[i] * q * q
    k.check_finite(sum_qq)

    for _ in k.loop(0, 5):
        for i in k.loop(0, n):
            old = levels[i]
            others_xq = sum_xq - wx[i] * old
            others_qq = sum_qq - w[i] * old * old
            new = k.exact_level(x[i] * others_qq / others_xq, -4, 3)
            xq = others_xq + wx[i] * new
            qq = others_qq + w[i] * new * new
            better = (others_xq > 0.0) & new.differs(old) & (qq > 0.0)
            better = better & (xq * xq * sum_qq > sum_xq * sum_xq * qq)
            levels[i] = k.select(better, new, old)
            sum_xq.assign(xq, where=better)
            sum_qq.assign(qq, where=better)

    scale = k.select((sum_qq > 0.0) & ~zero, sum_xq / sum_qq, 0.0)
    return Fit(scale, levels, size, zero)


def final_levels(k: Machine, fit: Fit, d: Lanes) -> Array:
    """Levels by the scale as it is stored; if that is 0, the search's, or 0 if it found nothing."""
    kept = d.equals(0.0)
    k.check_range(k.select(kept, 0.0, fit.size / d))
    q = k.array()
    for i in k.loop(0, k.layout.weights):
        searched = k.select(fit.zero, -4.0, fit.levels[i])
        q[i] = k.select(kept, searched, k.level(k.weights[i] / d, -4, 3)) + 4.0
    return q


def _signed_byte(k: Machine, value: Lanes) -> Lanes:
    """What is left of an integer as int8_t."""
    byte = value & 0xFF
    return k.select(byte > 127, byte - 256, byte)
