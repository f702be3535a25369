"""The own kernels against ggml, bit for bit, at every vector width that this processor can run.

benchmarks/kernel_identity.py does the same with thousands of super-blocks per set.
"""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import weight_sets
from benchmarks.kernel_identity import TARGETS, forms, infinite_units, runnable_widths
from models.tensor_types import BLOCKS, TensorType
from quantize import kernel
from quantize.ggml_reference import GgmlKernel
from quantize.kernels import arrays
from quantize.kernels import packer as packer_module
from quantize.kernels.bad_weight import TooLargeError
from tests.kernel_kit import packer

Bytes = NDArray[np.uint8]
EACH = 7  # super-blocks of each set
WIDTHS = [
    pytest.param(width, marks=pytest.mark.skipif(width not in runnable_widths(), reason="no such"))
    for width in TARGETS
]


def by_ggml(kind: TensorType, rows: NDArray[np.float32]) -> Bytes:
    out = np.empty((rows.size // BLOCKS[kind].size, BLOCKS[kind].nbytes), np.uint8)
    GgmlKernel(kind).blocks(rows, out.reshape(-1))
    return out


def by_us(kind: TensorType, width: int, source: str, raw: Bytes, theirs: Bytes) -> Bytes:
    out = np.empty_like(theirs)
    count = len(out) * BLOCKS[kind].size
    try:
        packer(kind, width).pack(raw, source, 1, count, out.reshape(-1))
    except TooLargeError:
        assert infinite_units(kind, theirs)
    else:
        assert not infinite_units(kind, theirs)
    return out


@cache
def all_sets() -> tuple[tuple[str, NDArray[np.float32]], ...]:
    """Those that fit into F16 and those that do not, each in one array; the sets lie in order."""
    made = [(name, weight_sets.weights(name, EACH)) for name in weight_sets.SETS]
    usual = [rows for _, rows in made if np.abs(rows).max() <= 65504]
    large = [rows for _, rows in made if np.abs(rows).max() > 65504]
    return ("usual", np.concatenate(usual)), ("large", np.concatenate(large))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", kernel.OWN)
def test_every_set_is_packed_as_ggml_packs_it(kind: TensorType, width: int) -> None:
    compared = 0
    for name, rows in all_sets():
        for source, raw, floats in forms(rows):
            # Each way of reading is compiled with each kernel here, with one at other widths.
            if source != "F32" and width != runnable_widths()[0] and kind != TensorType.Q4_K:
                continue
            theirs = by_ggml(kind, floats)
            mine = by_us(kind, width, source, raw, theirs)
            wrong = np.flatnonzero((mine != theirs).any(axis=1))
            assert not len(wrong), f"{name} from {source}: blocks {wrong[:9]}"
            compared += len(theirs)
    assert compared >= len(weight_sets.SETS) * EACH


def test_the_sets_are_what_they_say() -> None:
    """Most are sure on vectors; what they are in doubt about is redone, and is there."""
    assert len(weight_sets.SETS) >= 40
    for name in weight_sets.SETS:
        rows = weight_sets.weights(name, EACH)
        assert rows.shape == (EACH, weight_sets.SIZE)
        assert np.isfinite(rows).all()


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = finite | st.floats(-4, 4, width=32) | st.integers(-20, 20).map(lambda n: n / 4)


@st.composite
def super_blocks(draw: st.DrawFn) -> NDArray[np.float32]:
    """One to three super-blocks of short lists, repeated, and scaled part by part."""
    count = draw(st.integers(1, 3))
    values = draw(st.lists(numbers, min_size=1, max_size=30))
    rows = np.resize(np.array(values, np.float32), (count, 16, 16))
    scales = draw(st.lists(st.sampled_from([1, 0, -1, 1e-3, 1e-9, 1e-38, 7]), max_size=16))
    with np.errstate(all="ignore"):
        rows[:, : len(scales)] *= np.array(scales, np.float32)[:, None]
    return rows.reshape(count, 256).clip(-3e38, 3e38)


@pytest.mark.parametrize("kind", kernel.OWN)
@settings(max_examples=40, deadline=None)
@given(rows=super_blocks())
def test_whatever_hypothesis_thinks_of_is_packed_as_ggml_packs_it(
    kind: TensorType, rows: NDArray[np.float32]
) -> None:
    theirs = by_ggml(kind, rows)
    raw = rows.view(np.uint8).reshape(-1)
    assert by_us(kind, runnable_widths()[0], "F32", raw, theirs).tobytes() == theirs.tobytes()


@pytest.fixture
def redone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks each call of the array machine got."""
    counts: list[int] = []
    machine = arrays.ArrayMachine

    def counted(layout: object, weights: NDArray[np.float32], out: Bytes) -> object:
        counts.append(len(out))
        return machine(layout, weights, out)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(packer_module, "ArrayMachine", counted)
    return counts


@pytest.mark.skipif(runnable_widths() == [0], reason="no vectors here")
@pytest.mark.parametrize("name", ["gauss", "zero", "constant", "one big 32", "sparse 1 %"])
@pytest.mark.parametrize("kind", kernel.OWN)
def test_usual_weights_never_need_the_slow_way(
    kind: TensorType, name: str, redone: list[int]
) -> None:
    rows = weight_sets.weights(name, 16)
    theirs = by_ggml(kind, rows)
    raw = rows.view(np.uint8).reshape(-1)
    assert by_us(kind, runnable_widths()[0], "F32", raw, theirs).tobytes() == theirs.tobytes()
    assert redone == []
