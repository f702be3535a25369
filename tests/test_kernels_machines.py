"""The language of the kernels: both machines against numpy, and the small floats against tables."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.kernel_identity import TARGETS, runnable_widths
from quantize import decode
from quantize.kernels import halves, jit
from quantize.kernels.arrays import ArrayLanes, ArrayMachine, decoded
from quantize.kernels.block_kernel import BlockKernel
from quantize.kernels.halves import SOURCES
from quantize.kernels.lanes import Lanes, Layout, Machine
from quantize.kernels.packer import Packer
from quantize.kernels.stored import store_unit

WIDTHS = runnable_widths()
PARTS = Layout(sub_blocks=8, weights=16, nbytes=4, units=())
Floats = NDArray[np.float32]


def run(program: Callable[[Machine], Lanes], weights: Floats, width: int) -> Floats:
    """A program's result in the first lane of each super-block of 8 x 16 weights."""

    def kernel(k: Machine) -> None:
        bits = k.table(k.bits(program(k)))
        for _ in k.blocks():
            for byte in range(4):
                k.store(byte, bits[0] >> (8 * byte))

    out = np.empty((weights.size // PARTS.size, 4), np.uint8)
    if not width:
        kernel(ArrayMachine(PARTS, weights, out))
        return out.view(np.float32)[:, 0]
    target = TARGETS[width]
    assert target is not None
    function = jit.compiled(BlockKernel("test", PARTS, kernel), SOURCES["F32"], target)
    doubts = np.empty(len(out), np.bool_)
    assert len(out) % function.blocks == 0
    function.call(
        weights.ctypes.data, out.ctypes.data, doubts.ctypes.data, len(out) // function.blocks
    )
    return out.view(np.float32)[:, 0]


@pytest.fixture(scope="module")
def weights() -> Floats:
    return np.random.default_rng(1).standard_normal((8, 128)).astype(np.float32)


def in_order(values: Floats) -> Floats:
    total = np.zeros(values.shape[:-1], np.float32)
    for at in range(values.shape[-1]):
        total = (total + values[..., at]).astype(np.float32)
    return total


@pytest.mark.parametrize("width", WIDTHS)
def test_a_lane_adds_its_own_numbers_in_their_order(width: int, weights: Floats) -> None:
    def total(k: Machine) -> Lanes:
        found = k.variable(0.0)
        for i in k.loop(0, 16, unroll=4):
            found += k.weights[i]
        return found

    first_lanes = weights.reshape(8, 8, 16)[:, 0]
    assert run(total, weights, width).tobytes() == in_order(first_lanes).tobytes()
    assert (in_order(first_lanes) != in_order(first_lanes[:, ::-1])).any(), "the order shows"


@pytest.mark.parametrize("width", WIDTHS)
def test_lanes_are_combined_within_their_super_block(width: int, weights: Floats) -> None:
    firsts = weights.reshape(8, 8, 16)[:, :, 0]
    most = run(lambda k: k.largest(k.weights[0]), weights, width)
    assert (most == firsts.max(axis=1)).all()
    far = run(lambda k: k.farthest(k.weights[0]), weights, width)
    assert (far == firsts[np.arange(8), abs(firsts).argmax(axis=1)]).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_of_values_equally_far_the_first_counts_and_nan_never_does(width: int) -> None:
    weights = np.zeros((8, 8, 16), np.float32)
    weights[:, :, 0] = np.nan
    weights[:, 1:, 0] = -0.5
    for block in range(7):
        weights[block, block + 1, 0] = 2
        weights[block, block + 2 :, 0] = -2
    far = run(lambda k: k.farthest(k.weights[0]), weights.reshape(8, 128), width)
    assert far.tolist() == [2] * 7 + [-0.5]
    assert run(lambda k: k.largest(k.weights[0]), weights, width).tolist() == [2] * 7 + [0]


@pytest.mark.parametrize("width", WIDTHS)
def test_loops_inside_loops_and_conditional_changes(width: int, weights: Floats) -> None:
    def program(k: Machine) -> Lanes:
        found, kept = k.variable(1.0), k.array()
        for i in k.loop(0, 16):
            kept[i] = abs(k.weights[i])
        for step in k.loop(1, 4):
            for i in k.loop(0, 16, unroll=2):
                found.assign(found + k.number(step), where=kept[i] > 1.0)
        return -found

    large = (abs(weights.reshape(8, 8, 16)[:, 0]) > 1).sum(axis=1)
    assert (run(program, weights, width) == -(1 + 6 * large)).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [0.5, 1.5, -2.5, 3.4999998, 6.7, -7.6, 4194303, -4194303])
def test_rounding_is_half_to_even(width: int, value: float) -> None:
    weights = np.full((8, 128), value, np.float32)
    nearest = run(lambda k: k.number(k.nearest_int(k.weights[0])), weights, width)
    assert (nearest == np.rint(np.float32(value))).all()
    level = run(lambda k: k.level(k.weights[0], -7, 6), weights, width)
    assert (level == np.rint(np.float32(value)).clip(-7, 6)).all()


# --- small floats ---------------------------------------------------------------------------------


def same(mine: Floats, theirs: Floats) -> bool:
    nan = np.isnan(theirs)
    return bool((np.isnan(mine) == nan).all()) and mine[~nan].tobytes() == theirs[~nan].tobytes()


def test_every_f16_becomes_its_float() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    assert same(decoded(bits.view(np.uint8), "F16"), bits.view(np.float16).astype(np.float32))


def test_every_bf16_becomes_its_float() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    theirs = (bits.astype(np.uint32) << 16).view(np.float32)
    assert same(decoded(bits.view(np.uint8), "BF16"), theirs)


@pytest.mark.parametrize("source", ["F8_E4M3", "F8_E5M2"])
def test_every_fp8_becomes_its_float(source: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert same(decoded(codes, source), decode.FP8_TABLES[source])


def to_half(values: Floats) -> NDArray[np.float16]:
    machine = ArrayMachine(PARTS, np.empty(0, np.float32), np.empty((0, 4), np.uint8))
    with np.errstate(all="ignore"):
        bits = halves.to_half(machine, ArrayLanes(values))
    assert isinstance(bits, ArrayLanes)
    return bits.values.astype(np.uint16).view(np.float16)


def test_rounding_to_f16_is_right_at_and_beside_every_border() -> None:
    halves_up = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves_up[:-1] + halves_up[1:]) / 2
    borders = np.concatenate([halves_up, between, np.array([65504, 65519.996, 65520, 65536, 3e38])])
    values = np.concatenate([borders, np.nextafter(borders, 0), np.nextafter(borders, 1e38)])
    values = np.concatenate([values, -values]).astype(np.float32)
    with np.errstate(over="ignore"):
        assert to_half(values).tobytes() == values.astype(np.float16).tobytes()


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32))
def test_any_float_is_rounded_to_f16_as_numpy_does(value: float) -> None:
    values = np.array([value], np.float32)
    with np.errstate(all="ignore"):
        theirs = values.astype(np.float16)
    assert np.isnan(to_half(values)[0]) == np.isnan(theirs[0])
    assert np.isnan(theirs[0]) or to_half(values).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_unit_is_stored_little_endian(width: int) -> None:
    weights = np.full((8, 128), 1.5, np.float32)
    layout = Layout(sub_blocks=8, weights=16, nbytes=2, units=(0,))

    def kernel(k: Machine) -> None:
        unit = k.table(halves.to_half(k, k.weights[0]))
        for _ in k.blocks():
            store_unit(k, 0, unit)

    out = np.empty(16, np.uint8)
    packer = Packer(BlockKernel("test", layout, kernel), TARGETS[width])
    packer.pack(weights.view(np.uint8).reshape(-1), "F32", 8, 128, out)
    assert out.tobytes() == np.full(8, 1.5, "<f2").tobytes()
