"""Q2_K: 256 weights in 84 bytes, 2.625 bits each.

A super-block is 16 sub-blocks of 16 weights. Each has a scale and a minimum of four bits, in units
of the super-block's two F16s, and a weight is  d * scale * q - dmin * minimum,  q from 0 to 3.

    byte   0   sub-block j:  scale | minimum << 4                      j = 0..15
    byte  16   q, eight sub-blocks to 32 bytes; for half h = 0, 1 and part p = 0, 1:
               16 + 32 h + 16 p + i    weight i of sub-blocks 8h + p, + 2, + 4, + 6,
                                       two bits each, from the lowest
    byte  80   d      F16   largest scale / 15
    byte  82   dmin   F16   largest minimum / 15

Searched in 16 tries: 2.5, 2.6 ... 4 levels. Absolute errors count, each as much as its weight is
large.  ggml: quantize_row_q2_K_ref.
"""

from quantize.kernels.affine import Tries, search
from quantize.kernels.halves import from_half
from quantize.kernels.lanes import Array, Layout, Machine
from quantize.kernels.stored import Levels, affine_levels, in_units, store_unit

LAYOUT = Layout(sub_blocks=16, weights=16, nbytes=84, units=(80, 82))
TRIES = Tries(levels=3, first=-0.5, step=0.1, last=15, absolute=True)


def kernel(k: Machine) -> None:
    """Pack super-blocks."""
    fit = search(k, size(k), TRIES)
    d, scale = in_units(k, fit.scale, 15)
    dmin, minimum = in_units(k, fit.minimum, 15)
    both = (scale | (minimum << 4)) & 0xFF
    scaled, lowered = (from_half(k, d), both & 15), (from_half(k, dmin), both >> 4)
    levels = affine_levels(
        k, fit, scaled[0] * k.number(scaled[1]), lowered[0] * k.number(lowered[1]), TRIES.levels
    )

    q, both_at, d_at, dmin_at = Levels(k, levels), k.table(both), k.table(d), k.table(dmin)
    for _ in k.blocks():
        for j in range(16):
            k.store(j, both_at[j])
        for half in range(2):
            for part in range(2):
                j = 8 * half + part
                four = q[j] | (q[j + 2] << 2) | (q[j + 4] << 4) | (q[j + 6] << 6)
                k.store(16 + 32 * half + 16 * part, four)
        store_unit(k, 80, d_at)
        store_unit(k, 82, dmin_at)


def size(k: Machine) -> Array:
    """|x|, what each weight's error counts."""
    w = k.array()
    for i in k.loop(0, k.layout.weights):
        w[i] = abs(k.weights[i])
    return w
