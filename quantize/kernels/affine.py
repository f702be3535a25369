"""The search behind Q2_K, Q4_K and Q5_K: the scale and minimum that fit a sub-block best.

A sub-block is stored as `x ~ scale * q - minimum` with whole q from 0 to `levels`. The obvious
choice, from its smallest to its largest weight, is rarely the best one. So further scales are
tried, a little finer and coarser than that. Each gives every weight a level q; with the levels
fixed, the scale s and offset m that minimise

    sum of w * (s * q + m - x)^2

follow from two linear equations (D is their determinant):

    s = (W * XQ - X * Q) / D          W = sum w      Q  = sum w*q       XQ = sum w*q*x
    m = (QQ * X - Q * XQ) / D         X = sum w*x    QQ = sum w*q*q     D  = W * QQ - Q * Q

An offset above zero cannot be stored; it becomes 0 and s is fitted alone. The try whose levels
then have the smallest error wins. As in ggml (make_qkx2_quants), a winner's offset is what the
next tries start from, and the first to reach an error keeps it.

Levels are not kept with the winner: `inverse` and `base` say how to make them again.
"""

from dataclasses import dataclass

from quantize.kernels.lanes import Array, Lanes, Machine


@dataclass(frozen=True, slots=True)
class Tries:
    """What is tried: levels 0 to `levels`, stretched by `first + step * n` for n up to `last`.

    `absolute` measures the error by |s * q + m - x| instead of its square.
    """

    levels: int
    first: float
    step: float
    last: int
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """The winner of each lane: x ~ scale * q - minimum, q = nearest(inverse * (x - base)).

    `low` and `high` are the lane's smallest and largest weight.
    """

    scale: Lanes
    minimum: Lanes
    inverse: Lanes
    base: Lanes
    low: Lanes
    high: Lanes


def search(k: Machine, w: Array, tries: Tries) -> Fit:
    """Fit each lane's weights, whose errors count `w`."""
    x, n = k.weights, k.layout.weights
    low, high = k.variable(x[0]), k.variable(x[0])
    sum_w, sum_x = k.variable(w[0]), k.variable(w[0] * x[0])
    for i in k.loop(1, n):
        low.assign(x[i], where=x[i] < low)
        high.assign(x[i], where=x[i] > high)
        sum_w += w[i]
        sum_x += w[i] * x[i]
    k.check_finite(sum_x)

    start = k.select(low > 0.0, 0.0, low)
    spread = high.differs(start)  # else all weights are one number that needs no levels
    base, offset = k.variable(start), k.variable(start)
    inverse = k.variable(tries.levels / (high - start))
    scale = k.variable(1.0 / inverse)
    best = k.variable(0.0)
    _check(k, tries, inverse, low, high, start, spread)
    for i in k.loop(0, n):
        q = k.level(inverse * (x[i] - start), 0, tries.levels)
        best += w[i] * _error(scale * q + start - x[i], tries)

    levels = k.array()
    for step in k.loop(0, tries.last + 1):
        finer = (tries.first + tries.step * k.number(step) + tries.levels) / (high - offset)
        _check(k, tries, finer, low, high, offset, spread)
        sum_q, sum_qq, sum_xq = k.variable(0.0), k.variable(0.0), k.variable(0.0)
        for i in k.loop(0, n, unroll=4):
            q = levels[i] = k.level(finer * (x[i] - offset), 0, tries.levels)
            wq = w[i] * q
            sum_q += wq
            sum_qq += wq * q
            sum_xq += wq * x[i]

        d = sum_w * sum_qq - sum_q * sum_q
        s = (sum_w * sum_xq - sum_x * sum_q) / d
        m = (sum_qq * sum_x - sum_q * sum_xq) / d
        above = m > 0.0
        m = k.select(above, 0.0, m)
        s = k.select(above, sum_xq / sum_qq, s)

        error = k.variable(0.0)
        for i in k.loop(0, n, unroll=4):
            error += w[i] * _error(s * levels[i] + m - x[i], tries)

        better = (d > 0.0) & (error < best)
        inverse.assign(finer, where=better)
        base.assign(offset, where=better)
        best.assign(error, where=better)
        scale.assign(s, where=better)
        offset.assign(m, where=better)

    return Fit(
        scale=k.select(spread, scale, 0.0),
        minimum=-k.select(spread, offset, start),
        inverse=k.select(spread, inverse, 0.0),
        base=base,
        low=low,
        high=high,
    )


def _error(difference: Lanes, tries: Tries) -> Lanes:
    return abs(difference) if tries.absolute else difference * difference


def _check(
    k: Machine, tries: Tries, inverse: Lanes, low: Lanes, high: Lanes, base: Lanes, where: Lanes
) -> None:
    """Rounding is monotone: where both ends are in range, so is everything between."""
    k.check_range(inverse * (low - base), where)
    k.check_range(inverse * (high - base), where)
