import numpy as np
import pytest

from models.tensor_types import TensorType, byte_size
from quantize import kernel, thin_product, unpack
from quantize.error_view import ErrorView
from quantize.thin_product import ROWS


@pytest.mark.parametrize("kind", TensorType)
@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "numpy"])
@pytest.mark.parametrize(("rows", "width", "count"), [(3, 256, 1), (8, 768, 16), (21, 512, 40)])
def test_what_is_seen_of_an_error_is_its_product_with_the_directions(
    kind: TensorType, vectors: bool, rows: int, width: int, count: int
) -> None:
    stream = np.random.default_rng(0)
    directions = stream.standard_normal((count, width)).astype("f4")
    sums = thin_product.aligned((rows + ROWS) * width)
    sums[: rows * width] = stream.standard_normal(rows * width)
    packed = np.empty(byte_size((rows, width), kind), np.uint8)
    kernel.find(kind).pack(sums[: rows * width].view(np.uint8), "F32", rows, width, packed)
    view = ErrorView(directions, kernel.target() if vectors else None)
    seen = view.see(kind, packed, sums, rows)
    error = unpack.unpacked(kind, packed, rows * width) - sums[: rows * width]
    wanted = error.reshape(rows, width).astype("f8") @ directions.T
    usual = np.linalg.norm(error) * np.linalg.norm(directions) / np.sqrt(width)
    assert np.linalg.norm(seen.rows - wanted) <= 1e-3 * usual
    assert seen.error_squares == pytest.approx(float((error.astype("f8") ** 2).sum()), rel=1e-4)
    assert seen.squares == pytest.approx(float((sums.astype("f8") ** 2).sum()), rel=1e-4)
