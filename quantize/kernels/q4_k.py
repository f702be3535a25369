"""Q4_K: 256 weights in 144 bytes, 4.5 bits each. What Q4_K_S files are made of.

A super-block is 8 sub-blocks of 32 weights. Each has a scale and a minimum of six bits, in units of
the super-block's two F16s, and a weight is  d * scale * q - dmin * minimum,  q from 0 to 15.

    byte   0   d, dmin, scales and minima         k_scales.py
    byte  16   q, two sub-blocks to 32 bytes:
               16 + i    q of weight i of sub-block 0 | q of weight i of sub-block 1 << 4
               48 + i    sub-blocks 2 and 3
               80 + i    4 and 5
              112 + i    6 and 7

The best scale is searched (affine.py) in 21 tries: 14, 14.1 ... 16 levels between the smallest and
the largest weight. Squared errors count, those of large weights more (importance.py).

ggml: quantize_row_q4_K_ref.
"""

from quantize.kernels.affine import Tries, search
from quantize.kernels.importance import size_above_usual
from quantize.kernels.k_scales import Header
from quantize.kernels.lanes import Layout, Machine
from quantize.kernels.stored import Levels

LAYOUT = Layout(sub_blocks=8, weights=32, nbytes=144, units=(0, 2))
TRIES = Tries(levels=15, first=-1.0, step=0.1, last=20)


def kernel(k: Machine) -> None:
    """Pack super-blocks."""
    fit = search(k, size_above_usual(k), TRIES)
    header = Header(k, fit, TRIES.levels)
    q = Levels(k, header.levels)
    for _ in k.blocks():
        header.store()
        for pair in range(4):
            k.store(16 + 32 * pair, q[2 * pair] | (q[2 * pair + 1] << 4))
