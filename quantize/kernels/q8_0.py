"""Q8_0: 32 weights in 34 bytes, 8.5 bits each.

No search: a weight is  d * q,  q from -127 to 127, and the largest of the block gets 127.

    byte   0   d   F16   largest |x| / 127
    byte   2   q of weight i, a signed byte       i = 0..31

q is rounded half away from zero, as C's roundf(): the largest float below 0.5 is added and the
fraction dropped. (With 0.5 itself, 0.49999997 would become 1.)

Where even 1 / d is too large for a float32, d is 0 as an F16; q is 0 there too, which is what
ggml's cast of an infinite float to int8_t gives on x86.

ggml: quantize_row_q8_0_ref.
"""

from quantize.kernels.lanes import Lanes, Layout, Machine
from quantize.kernels.stored import Levels, store_unit, unit

LAYOUT = Layout(sub_blocks=1, weights=32, nbytes=34, units=(0,))
_BELOW_HALF = 0x3EFFFFFF  # the bits of 0.49999997
_SIGN = 0x80000000


def kernel(k: Machine) -> None:
    """Pack blocks."""
    x, n = k.weights, k.layout.weights
    d = largest(k) / 127.0
    inverse = 1.0 / d
    inverse = k.select(inverse < float("inf"), inverse, 0.0)
    rounded = k.array()
    for i in k.loop(0, n, unroll=4):
        value = x[i] * inverse
        rounded[i] = value + k.floats((k.bits(value) & _SIGN) | _BELOW_HALF)

    q, d_at = Levels(k, rounded), k.table(unit(k, d))
    for _ in k.blocks():
        store_unit(k, 0, d_at)
        k.store(2, q[0])


def largest(k: Machine) -> Lanes:
    """The largest |x| of each lane.

    Compared as bits, infinities and NaN are larger than all; unit() then comes to doubt them.
    """
    x, n = k.weights, k.layout.weights
    bits = k.variable(k.bits(x[0]) & ~_SIGN)
    for i in k.loop(1, n):
        size = k.bits(x[i]) & ~_SIGN
        bits.assign(size, where=size > bits)
    return k.floats(bits)
