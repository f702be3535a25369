"""How much a weight's error counts in the searches of Q4_K and Q5_K."""

from quantize.kernels.lanes import Array, Machine


def size_above_usual(k: Machine) -> Array:
    """|x| plus the root mean square of its sub-block: large ones more, but none nothing."""
    x, n = k.weights, k.layout.weights
    squares = k.variable(0.0)
    for i in k.loop(0, n):
        squares += x[i] * x[i]
    usual = k.sqrt(squares / n)
    w = k.array()
    for i in k.loop(0, n):
        w[i] = usual + abs(x[i])
    return w
