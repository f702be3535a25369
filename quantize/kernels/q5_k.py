"""Q5_K: 256 weights in 176 bytes, 5.5 bits each.

As Q4_K (q4_k.py), with q from 0 to 31. The fifth bits lie together: byte i of them holds that of
weight i of each of the 8 sub-blocks.

    byte   0   d, dmin, scales and minima         k_scales.py
    byte  16   fifth bits:  16 + i    bit j = bit 4 of q, weight i of sub-block j
    byte  48   lower four bits, two sub-blocks to 32 bytes, as in Q4_K

Searched in 16 tries: 30.5, 30.6 ... 32 levels.  ggml: quantize_row_q5_K_ref.
"""

from quantize.kernels.affine import Tries, search
from quantize.kernels.importance import size_above_usual
from quantize.kernels.k_scales import Header
from quantize.kernels.lanes import Layout, Machine
from quantize.kernels.stored import Levels

LAYOUT = Layout(sub_blocks=8, weights=32, nbytes=176, units=(0, 2))
TRIES = Tries(levels=31, first=-0.5, step=0.1, last=15)


def kernel(k: Machine) -> None:
    """Pack super-blocks."""
    fit = search(k, size_above_usual(k), TRIES)
    header = Header(k, fit, TRIES.levels)
    q = Levels(k, header.levels)
    for _ in k.blocks():
        header.store()
        fifth = q[0] >> 4
        for j in range(1, 8):
            fifth = fifth | ((q[j] >> 4) << j)
        k.store(16, fifth)
        for pair in range(4):
            k.store(48 + 32 * pair, (q[2 * pair] & 15) | ((q[2 * pair + 1] & 15) << 4))
