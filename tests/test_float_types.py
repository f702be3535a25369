import numpy as np
import pytest
from numpy.typing import NDArray

from models.tensor_types import TensorType, byte_size
from quantize import kernel
from quantize.float_types import FloatType
from quantize.ggml_reference import GgmlKernel
from quantize.kernels.bad_weight import TooLargeError


def any_floats(largest: float) -> NDArray[np.float32]:
    """Random bits, and what lies just between two BF16 or F16 numbers."""
    rng = np.random.default_rng(2)
    values = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    ties = (rng.integers(0x3000, 0x4800, 4096, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    halves = rng.integers(0, 0x7BFF, 4096, dtype=np.uint16)
    half_ties = (
        halves.view(np.float16).astype(np.float32)
        + (halves + np.uint16(1)).view(np.float16).astype(np.float32)
    ) / 2
    values = np.concatenate(
        [values, ties, -ties, half_ties, np.array([0, -0.0, largest], np.float32)]
    )
    return values[np.abs(values) <= largest].reshape(1, -1)


@pytest.mark.parametrize(
    ("kind", "largest"),
    [(TensorType.F32, 3.4e38), (TensorType.F16, 65519.0), (TensorType.BF16, 3.38e38)],
)
def test_the_bits_are_ggmls(kind: TensorType, largest: float) -> None:
    rows = any_floats(largest)
    assert rows.size > 10_000
    mine = np.empty(byte_size(rows.shape, kind), np.uint8)
    theirs = np.empty_like(mine)
    FloatType(kind).quantise(rows, mine)
    GgmlKernel(kind).quantise(rows, theirs)
    assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(("kind", "value"), [(TensorType.F16, -65520.0), (TensorType.BF16, 3.4e38)])
def test_a_weight_that_would_become_infinite_is_named(kind: TensorType, value: float) -> None:
    values = np.ones(300, np.float32)
    values[123] = value
    with pytest.raises(TooLargeError, match=f"too large for {kind.name}") as caught:
        kernel.find(kind).pack(values.view(np.uint8), "F32", 1, 300, np.empty(600, np.uint8))
    assert caught.value.index == 123
