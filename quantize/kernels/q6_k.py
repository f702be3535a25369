"""Q6_K: 256 weights in 210 bytes, 6.5625 bits each.

A super-block is 16 sub-blocks of 16 weights, each with a scale of eight bits in units of the
super-block's F16. There is no minimum: a weight is  d * scale * (q - 32),  q from 0 to 63.

    byte   0   lower four bits; for half h = 0, 1 and part p = 0 ... 3, i = 0 ... 15:
                 0 + 64 h + 16 p + i    weight i of sub-blocks  8h + p  and  8h + p + 4 << 4
    byte 128   upper two bits; part p = 0, 1:
               128 + 32 h + 16 p + i    weight i of sub-blocks 8h + p, + 2, + 4, + 6,
                                        from the lowest
    byte 192   scale of sub-block j, a signed byte                     j = 0..15
    byte 208   d      F16   the scale farthest from zero / -128

Searched in 19 tries: 32 levels on the largest weight's side, then 31.1, 31.2 ... 32.9. With the
levels q fixed, the scale  sum(w x q) / sum(w q q)  is best; of two tries the one whose
(sum w x q)^2 / (sum w q q)  is larger. Errors count as the square of their weight: w = x * x.

ggml: quantize_row_q6_K_ref, make_qx_quants.
"""

from dataclasses import dataclass

from quantize.kernels.halves import from_half
from quantize.kernels.lanes import Array, Lanes, Layout, Machine
from quantize.kernels.stored import Levels, store_unit, unit

LAYOUT = Layout(sub_blocks=16, weights=16, nbytes=210, units=(208,))
NOTHING = 1e-15  # smaller is as good as zero (ggml's GROUP_MAX_EPS)


@dataclass(frozen=True, slots=True)
class Fit:
    """x ~ scale * (q - 32), q = 32 + nearest(inverse * x); `size` is the lane's largest |x|."""

    scale: Lanes
    inverse: Lanes
    size: Lanes
    zero: Lanes


def kernel(k: Machine) -> None:
    """Pack super-blocks."""
    fit = search(k)
    far = k.farthest(fit.scale)
    empty = abs(far) < NOTHING
    inverse = -128.0 / far
    units = k.nearest_int(inverse * fit.scale)
    units = k.select(units < 127, units, 127) & 0xFF  # a signed byte, as its bits
    units = k.select(empty, 0, units)
    d = unit(k, k.select(empty, 0.0, 1.0 / inverse))
    levels = final_levels(k, fit, empty, from_half(k, d) * k.number(signed(k, units)))

    q, units_at, d_at = Levels(k, levels), k.table(units), k.table(d)
    for _ in k.blocks():
        for half in range(2):
            for part in range(4):
                j = 8 * half + part
                k.store(64 * half + 16 * part, (q[j] & 15) | ((q[j + 4] & 15) << 4))
            for part in range(2):
                high = [q[8 * half + part + 2 * n] >> 4 << 2 * n for n in range(4)]
                k.store(128 + 32 * half + 16 * part, high[0] | high[1] | high[2] | high[3])
        for j in range(16):
            k.store(192 + j, units_at[j])
        store_unit(k, 208, d_at)


def search(k: Machine) -> Fit:
    """The best scale of each lane."""
    x, n = k.weights, k.layout.weights
    size, largest = k.variable(0.0), k.variable(0.0)
    w, wx = k.array(), k.array()
    for i in k.loop(0, n):
        larger = abs(x[i]) > size
        size.assign(abs(x[i]), where=larger)
        largest.assign(x[i], where=larger)
        w[i] = x[i] * x[i]
        wx[i] = w[i] * x[i]
    zero = size < NOTHING

    inverse = k.variable(-32.0 / largest)
    sum_xq, sum_qq = _sums(k, inverse, w, wx)
    k.check_finite(sum_qq)
    scale = k.variable(k.select(sum_qq.differs(0.0), sum_xq / sum_qq, 0.0))
    best = k.variable(scale * sum_xq)
    for step in k.loop(0, 18):
        off = k.number(step) - 9.0
        off = k.select(off < 0.0, off, off + 1.0)  # -9 ... 9 without 0
        finer = -(0.1 * off + 32.0) / largest
        sum_xq, sum_qq = _sums(k, finer, w, wx)
        better = (sum_qq > 0.0) & (sum_xq * sum_xq > best * sum_qq)
        s = sum_xq / sum_qq
        inverse.assign(finer, where=better)
        scale.assign(s, where=better)
        best.assign(s * sum_xq, where=better)
    return Fit(k.select(zero, 0.0, scale), inverse, size, zero)


def _sums(k: Machine, inverse: Lanes, w: Array, wx: Array) -> tuple[Lanes, Lanes]:
    """The sums of w x q and of w q q. No |inverse * x| is above 33, so level() is sure."""
    sum_xq, sum_qq = k.variable(0.0), k.variable(0.0)
    for i in k.loop(0, k.layout.weights, unroll=4):
        q = k.level(inverse * k.weights[i], -32, 31)
        sum_xq += wx[i] * q
        sum_qq += w[i] * q * q
    return sum_xq, sum_qq


def final_levels(k: Machine, fit: Fit, empty: Lanes, d: Lanes) -> Array:
    """Levels by the scale as it is stored; if that is 0, the search's, or 0 if it found nothing."""
    kept = d.equals(0.0)
    nothing = kept & (fit.zero | empty)

    def exact(x: Lanes) -> Lanes:
        return k.select(nothing, -32.0, k.select(kept, fit.inverse * x, x / d))

    k.check_range(exact(fit.size))
    q = k.array()
    for i in k.loop(0, k.layout.weights):
        q[i] = k.level(exact(k.weights[i]), -32, 31) + 32.0
    return q


def signed(k: Machine, byte: Lanes) -> Lanes:
    """The number that a byte stands for as int8_t."""
    return k.select(byte > 127, byte - 256, byte)
