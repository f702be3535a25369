"""Sets of weights on which a kernel could go wrong, for comparing it with ggml bit for bit.

Each set is a function of a random generator that fills (blocks, 256) float32; SETS names them.
None holds NaN or infinity. Beside what weights look like there are the places where arithmetic
gets thin: ties, zeros of both signs, subnormal and huge numbers, sub-blocks of very different size.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

SIZE = 256
Rng: TypeAlias = np.random.Generator
Weights: TypeAlias = NDArray[np.float32]
Maker: TypeAlias = Callable[[Rng, int], NDArray[np.generic]]


def gauss(rng: Rng, blocks: int) -> NDArray[np.float64]:
    """What trained weights look like."""
    return rng.standard_normal((blocks, SIZE))


def _per_part(rng: Rng, blocks: int, low: float, high: float) -> NDArray[np.float64]:
    """A power of ten for every 16 weights."""
    return np.repeat(10.0 ** rng.uniform(low, high, (blocks, SIZE // 16)), 16, axis=1)


def _sparse(share: float) -> Maker:
    return lambda rng, n: gauss(rng, n) * (rng.random((n, SIZE)) < share)


def _scaled(scale: float) -> Maker:
    return lambda rng, n: gauss(rng, n) * scale


def _constant(value: float) -> Maker:
    return lambda _, n: np.full((n, SIZE), value)


def _choice(values: Sequence[float]) -> Maker:
    return lambda rng, n: rng.choice(np.array(values, np.float32), (n, SIZE))


def _with_one(value: float) -> Maker:
    def make(rng: Rng, blocks: int) -> NDArray[np.float64]:
        weights = gauss(rng, blocks)
        weights[np.arange(blocks), rng.integers(0, SIZE, blocks)] *= value
        return weights

    return make


def _one_big_part(width: int, factor: float) -> Maker:
    def make(rng: Rng, blocks: int) -> NDArray[np.float64]:
        weights = gauss(rng, blocks).reshape(blocks, -1, width)
        weights[np.arange(blocks), rng.integers(0, SIZE // width, blocks)] *= factor
        return weights.reshape(blocks, SIZE)

    return make


def _random_bits(dtype: str, mask: int) -> Maker:
    """Any finite number of a format: all exponents are equally frequent."""

    def make(rng: Rng, blocks: int) -> NDArray[np.float32]:
        bits = rng.integers(0, 1 << 32, (blocks, SIZE), dtype=np.uint32) & np.uint32(mask)
        weights = bits.astype(np.uint16).view(np.float16) if dtype == "f2" else bits.view("f4")
        with np.errstate(all="ignore"):
            return np.where(np.isfinite(weights), weights, 0).astype(np.float32)

    return make


def _ties(rng: Rng, blocks: int) -> NDArray[np.float32]:
    """Halves between whole levels and their neighbours, with the ends that make a level one."""
    most = rng.choice([1, 3, 255], (blocks, 1))
    weights = (rng.integers(-most, most + 1, (blocks, SIZE)) / 2).astype(np.float32)
    beside = np.nextafter(weights, rng.choice([-1e9, 0, 1e9], weights.shape).astype(np.float32))
    weights = np.where(rng.random(weights.shape) < 0.5, weights, beside)
    weights[:, ::16], weights[:, 1::16] = 127, -127
    return weights


def _far_apart(rng: Rng, blocks: int) -> NDArray[np.float32]:
    """Parts of a few neighbouring numbers far below zero: stored minima are off by many scales."""
    bases = 10.0 ** rng.uniform(2, 6.5, (blocks, SIZE // 32)).repeat(32, axis=1)
    steps = rng.integers(0, 4, (blocks, SIZE)) * rng.integers(0, 2, bases.shape)
    bits = bases.astype(np.float32).view(np.uint32) + steps.astype(np.uint32)
    return -bits.view(np.float32)


def _patchwork(rng: Rng, blocks: int) -> NDArray[np.float32]:
    """Every 16 weights from another set, moved and scaled at random."""
    names = [name for name in SETS if not name.startswith(("patchwork", "hypothesis", "huge"))]
    chosen = rng.choice(names, 12)
    pieces = np.stack([weights(name, blocks, int(rng.integers(1 << 31))) for name in chosen])
    pick = rng.integers(0, len(chosen), (blocks, SIZE // 16))
    parts = pieces.reshape(len(chosen), blocks, -1, 16)
    mixed = parts[pick, np.arange(blocks)[:, None], np.arange(SIZE // 16)].reshape(blocks, SIZE)
    moved = mixed * _per_part(rng, blocks, -3, 1) + (_per_part(rng, blocks, -6, 0) - 0.01)
    moved = moved.clip(-3e38, 3e38)
    return np.where(rng.random((blocks, 1)) < 0.5, mixed, moved).astype(np.float32)


def _hypothesis(rng: Rng, blocks: int) -> NDArray[np.float32]:
    """What hypothesis thinks of: short lists of odd numbers, repeated to a block."""
    found: list[Weights] = []
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    small = st.floats(-8, 8, width=32) | st.sampled_from([0.0, -0.0, 1e-15, 2.0**-126, 2.0**-149])

    @settings(
        max_examples=blocks, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(numbers, min_size=1, max_size=20) | st.lists(small, min_size=1, max_size=40))
    def collect(values: list[float]) -> None:
        found.append(np.resize(np.array(values, np.float32), SIZE))

    collect()
    return rng.choice(np.array(found), blocks)


SETS: Mapping[str, Maker] = MappingProxyType(
    {
        "gauss": gauss,
        "gauss 0.02": _scaled(0.02),
        "gauss 1e-6": _scaled(1e-6),
        "uniform": lambda rng, n: rng.uniform(-1, 1, (n, SIZE)),
        "t(3)": lambda rng, n: rng.standard_t(3, (n, SIZE)),
        "cauchy": lambda rng, n: rng.standard_cauchy((n, SIZE)).clip(-1e4, 1e4),
        "laplace": lambda rng, n: rng.laplace(size=(n, SIZE)),
        "lognormal": lambda rng, n: rng.lognormal(0, 4, (n, SIZE)) * rng.choice([-1, 1], (n, SIZE)),
        "skewed": lambda rng, n: rng.exponential(size=(n, SIZE)) - 0.1,
        "sparse 10 %": _sparse(0.1),
        "sparse 1 %": _sparse(0.01),
        "outliers x300": lambda rng, n: (
            gauss(rng, n) * np.where(rng.random((n, SIZE)) < 0.01, 300, 1)
        ),
        "one weight x1e4": _with_one(1e4),
        "one weight x1e-9": _with_one(1e-9),
        "coarse": lambda rng, n: np.round(gauss(rng, n) * 8) / 8,
        "whole numbers": lambda rng, n: rng.integers(-8, 9, (n, SIZE)),
        "levels 0..15": lambda rng, n: rng.integers(0, 16, (n, SIZE)),
        "ties": _ties,
        "two values": _choice([-1, 0.5]),
        "three values": _choice([-1, 0, 1]),
        "plus and minus": _choice([-0.75, 0.75]),
        "powers of two": lambda rng, n: np.ldexp(1.0, rng.integers(-20, 8, (n, SIZE))),
        "all positive": lambda rng, n: abs(gauss(rng, n)) + 0.01,
        "all negative": lambda rng, n: -abs(gauss(rng, n)) - 0.01,
        "far negative": lambda rng, n: gauss(rng, n) * 0.01 - 5,
        "far positive": lambda rng, n: gauss(rng, n) * 0.01 + 5,
        "near constant": lambda rng, n: gauss(rng, n) * 1e-6 + 1,
        "last place only": lambda rng, n: 1 + rng.integers(-1, 2, (n, SIZE)) * 2.0**-23,
        "last places, far apart": _far_apart,
        "constant": _constant(0.7),
        "constant negative": _constant(-0.7),
        "constant parts": lambda rng, n: np.repeat(rng.standard_normal((n, 8)), 32, axis=1),
        "zero": _constant(0),
        "minus zero": _constant(-0.0),
        "zeros of both signs": _choice([0.0, -0.0, 0.0, -0.0, 1e-3]),
        "zero parts": lambda rng, n: (
            gauss(rng, n) * np.repeat(rng.random((n, SIZE // 16)) < 0.5, 16, axis=1)
        ),
        "ramp": lambda rng, n: np.linspace(-1, 1, SIZE) * rng.uniform(0.1, 2, (n, 1)),
        "sorted": lambda rng, n: np.sort(gauss(rng, n), axis=1),
        "sorted down": lambda rng, n: -np.sort(gauss(rng, n), axis=1),
        "mixed 1e-12..1e4": lambda rng, n: gauss(rng, n) * _per_part(rng, n, -12, 4),
        "mixed 1e-38..1": lambda rng, n: gauss(rng, n) * _per_part(rng, n, -38, 0),
        "one big 32": _one_big_part(32, 1e4),
        "one big 16": _one_big_part(16, 1e4),
        "one small 32": _one_big_part(32, 1e-7),
        "near 1e-15": lambda rng, n: gauss(rng, n) * 1e-15,
        "near 1e-30": _scaled(1e-30),
        "subnormal": lambda rng, n: rng.integers(-(1 << 20), 1 << 20, (n, SIZE)) * 2.0**-149,
        "smallest": lambda rng, n: rng.integers(-3, 4, (n, SIZE)) * 2.0**-149,
        "around subnormal": _scaled(2.0**-126),
        "around F16's ends": lambda rng, n: gauss(rng, n) * _per_part(rng, n, -8, 7),
        "huge 1e36": lambda rng, n: gauss(rng, n) * 1e36,
        "huge 1e19": _scaled(1e19),
        "huge mixed": lambda rng, n: (gauss(rng, n) * _per_part(rng, n, -3, 38)).clip(-3e38, 3e38),
        "any F32": _random_bits("f4", 0xFFFFFFFF),
        "any BF16": _random_bits("f4", 0xFFFF0000),
        "any F16": _random_bits("f2", 0xFFFF),
        "F16 of gauss": lambda rng, n: gauss(rng, n).astype(np.float16),
        "F16 subnormal": lambda rng, n: rng.integers(-1023, 1024, (n, SIZE)) * 2.0**-24,
        "patchwork 1": _patchwork,
        "patchwork 2": _patchwork,
        "patchwork 3": _patchwork,
        "patchwork 4": _patchwork,
        "hypothesis": _hypothesis,
    }
)


def weights(name: str, blocks: int, seed: int = 0) -> Weights:
    """A set: (blocks, 256) float32, the same for the same name, number and seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    return np.ascontiguousarray(SETS[name](rng, blocks), np.float32)
