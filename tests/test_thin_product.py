import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantize import decode, kernel, thin_product
from quantize.thin_product import ROWS, ThinProduct
from tests.model_files import to_bf16


def exact(
    weights: NDArray[np.float32], up: NDArray[np.float32], down: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """Weight by weight, as kernels/thin.py says it, in the plainest way."""
    total = np.zeros_like(weights)
    for term in range(len(down)):
        total = total + up[:, term : term + 1] * down[term : term + 1]
    return weights * np.float32(scale) + total


def stored(weights: NDArray[np.float32], dtype: str) -> NDArray[np.uint8]:
    """The bytes of weights as a file has them; in FP8, bytes made of theirs."""
    match dtype:
        case "F32":
            return weights.view(np.uint8).reshape(-1)
        case "F16":
            return weights.astype("f2").view(np.uint8).reshape(-1)
        case "BF16":
            return to_bf16(weights).view(np.uint8).reshape(-1)
        case _:
            codes = (weights.reshape(-1) * 30).astype(np.int8).view(np.uint8)
            return codes & np.uint8(0xBB)  # no code of NaN or infinity


def room(raw: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.concatenate([raw, np.zeros(4 * ROWS * width, np.uint8)])


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "numpy"])
@pytest.mark.parametrize("dtype", decode.DTYPES)
@pytest.mark.parametrize("rows", [1, 8, 21])
def test_a_sum_has_the_bits_of_its_definition(dtype: str, rows: int, vectors: bool) -> None:
    stream = np.random.default_rng(rows)
    up = stream.standard_normal((rows, 5)).astype("f4")
    down = stream.standard_normal((5, 128)).astype("f4")
    raw = stored(stream.standard_normal((rows, 128)).astype("f4"), dtype)
    weights = np.empty(rows * 128, np.float32)
    decode.decode(raw, dtype, weights)
    product = ThinProduct(up, down, kernel.target() if vectors else None)
    sums = thin_product.aligned((rows + ROWS) * 128)
    product.add(room(raw, 128), dtype, 0.25, (0, rows), sums)
    wanted = exact(weights.reshape(rows, 128), up, down, 0.25)
    np.testing.assert_array_equal(sums[: rows * 128].reshape(rows, 128), wanted)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    terms=st.integers(1, 70),
    panels=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 1000),
)
def test_it_does_not_matter_how_rows_are_cut(
    rows: int, terms: int, panels: int, cuts: list[int], seed: int
) -> None:
    width = 16 * panels
    stream = np.random.default_rng(seed)
    up, down = stream.standard_normal((rows, terms)), stream.standard_normal((terms, width))
    weights = stream.standard_normal((rows, width)).astype("f4")
    product = thin_product.of(up.astype("f4"), down.astype("f4"))
    sums = thin_product.aligned((rows + ROWS) * width)
    raw = room(weights.view(np.uint8).reshape(-1), width)
    edges = sorted({0, rows, *(cut for cut in cuts if cut < rows)})
    for start, stop in itertools.pairwise(edges):
        place = slice(4 * start * width, None)
        product.add(raw[place], "F32", 1.0, (start, stop), sums[start * width :])
    wanted = exact(weights, up.astype("f4"), down.astype("f4"), 1.0)
    np.testing.assert_array_equal(sums[: rows * width].reshape(rows, width), wanted)


def test_rows_that_are_no_whole_vectors_are_done_too() -> None:
    stream = np.random.default_rng(0)
    up, down = stream.standard_normal((3, 2)), stream.standard_normal((2, 7))
    weights = stream.standard_normal((3, 7)).astype("f4")
    product = thin_product.of(up.astype("f4"), down.astype("f4"))
    sums = thin_product.aligned(11 * 7)
    product.add(room(weights.view(np.uint8).reshape(-1), 7), "F32", 1.0, (0, 3), sums)
    wanted = exact(weights, up.astype("f4"), down.astype("f4"), 1.0)
    np.testing.assert_array_equal(sums[:21].reshape(3, 7), wanted)
