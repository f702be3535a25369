import gguf
import numpy as np
import pytest

from models.tensor_types import TensorType, byte_size
from quantize import kernel, unpack


@pytest.mark.parametrize("kind", TensorType)
@pytest.mark.parametrize("ggml", [True, False], ids=["ggml", "without ggml"])
def test_every_type_comes_back_as_the_gguf_package_reads_it(
    kind: TensorType, ggml: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ggml:
        monkeypatch.setattr(unpack, "_has_ggml", lambda: False)
    weights = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)
    packed = np.empty(byte_size(weights.shape, kind), np.uint8)
    kernel.find(kind).pack(weights.view(np.uint8).reshape(-1), "F32", 4, 512, packed)
    found = unpack.unpacked(kind, packed, weights.size)
    wanted = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType(int(kind)))
    np.testing.assert_array_equal(found, wanted.reshape(-1))
