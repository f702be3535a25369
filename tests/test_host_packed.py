"""Packed weights: unpacked exactly as the gguf package does it, row by row, without copies."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from host.errors import RenderError
from host.packed import Packed, PackedEmbedding, PackedLinear, open_weights
from host.packed_model import build
from models.errors import ModelError
from models.tensor_types import TensorType

CPU = torch.device("cpu")
BLOCKS = [kind for kind in TensorType if kind.name.startswith("Q")]


def random_blocks(kind: TensorType, rows: int, width: int) -> np.ndarray:
    """Random bytes with finite scales: any bit pattern of the quants is legal."""
    size, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(int(kind))]
    stream = np.random.default_rng(int(kind))
    blocks = stream.integers(0, 256, (rows * width // size, nbytes), dtype=np.uint8)
    scale = np.frombuffer(np.float16(0.013).tobytes(), np.uint8)
    places = {TensorType.Q2_K: (80, 82), TensorType.Q3_K: (108,), TensorType.Q6_K: (208,)}
    two = kind in (TensorType.Q4_1, TensorType.Q5_1, TensorType.Q4_K, TensorType.Q5_K)
    for place in places.get(kind, (0, 2) if two else (0,)):
        blocks[:, place : place + 2] = scale
    return blocks.reshape(rows, -1)


def oracle(blocks: np.ndarray, kind: TensorType) -> torch.Tensor:
    return torch.from_numpy(gguf.dequantize(blocks, gguf.GGMLQuantizationType(int(kind))))


def packed(blocks: np.ndarray, kind: TensorType, shape: tuple[int, ...]) -> Packed:
    return Packed(torch.from_numpy(blocks.reshape(-1).copy()), kind, shape)


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: str(kind.name))
def test_every_type_is_unpacked_bit_for_bit_like_the_gguf_package(kind: TensorType) -> None:
    blocks = random_blocks(kind, 6, 512)
    one = packed(blocks, kind, (6, 512))
    assert torch.equal(one.unpack(torch.float32), oracle(blocks, kind))


@pytest.mark.parametrize("kind", BLOCKS, ids=lambda kind: str(kind.name))
def test_rows_are_views_wherever_they_begin(kind: TensorType) -> None:
    blocks = random_blocks(kind, 6, 256)
    one = packed(blocks, kind, (6, 256))
    rows = one.rows(1, 3)
    assert rows.data.data_ptr() == one.data.data_ptr() + one.row_bytes
    assert torch.equal(rows.unpack(torch.float32), oracle(blocks, kind)[1:4])
    assert torch.equal(one.swapped().unpack(torch.float32), oracle(blocks, kind).roll(3, 0))


def test_a_packed_layer_computes_what_the_full_weight_would() -> None:
    blocks = random_blocks(TensorType.Q4_K, 8, 256)
    bias = torch.randn(8)
    layer = PackedLinear(packed(blocks, TensorType.Q4_K, (8, 256)), bias, torch.float32)
    x = torch.randn(3, 256)
    expected = nn.functional.linear(x, oracle(blocks, TensorType.Q4_K), bias)
    assert torch.equal(layer(x), expected)
    assert sum(one.nbytes for one in layer.parameters()) == 8 * 144 + 8 * 4


def test_a_packed_table_unpacks_only_what_is_looked_up() -> None:
    blocks = random_blocks(TensorType.Q8_0, 10, 64)
    table = PackedEmbedding(packed(blocks, TensorType.Q8_0, (10, 64)), torch.float32)
    index = torch.tensor([[3, 3], [9, 0]])
    assert torch.equal(table(index), oracle(blocks, TensorType.Q8_0)[index])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("extra", ["", "x", "xx", "xxx"])  # moves the data to odd addresses
def test_safetensors_are_mapped_wherever_their_data_begin(
    tmp_path: Path, dtype: torch.dtype, extra: str
) -> None:
    weights = {"b": torch.randn(5).to(torch.float8_e4m3fn), "w": torch.randn(4, 6).to(dtype)}
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.torch.save(weights, {"pad": extra}))
    file = open_weights(path)
    assert file.shapes == {"b": (5,), "w": (4, 6)}
    for name, weight in weights.items():
        assert torch.equal(file.tensors[name].unpack(torch.float32), weight.float())


def test_gguf_is_mapped_with_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "flux")
    blocks = random_blocks(TensorType.Q4_K, 2, 256)
    writer.add_tensor("q", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_K)
    writer.add_tensor("f", np.arange(6, dtype=np.float16).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_weights(path)
    assert file.metadata["general.architecture"] == "flux"
    assert torch.equal(file.tensors["q"].unpack(torch.float32), oracle(blocks, TensorType.Q4_K))
    assert file.tensors["f"].unpack(torch.float32).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("name", ["a.gguf", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"GGUF", b"\x80\x04pickle", b"x" * 100])
def test_what_is_no_model_file_is_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError):
        open_weights(tmp_path / name)


def test_a_model_is_filled_without_allocating_it_twice(tmp_path: Path) -> None:
    blocks = random_blocks(TensorType.Q4_K, 4, 256)
    weights = {
        "0.weight": packed(blocks, TensorType.Q4_K, (4, 256)),
        "0.bias": Packed(torch.zeros(16, dtype=torch.uint8), torch.float32, (4,)),
        "1.weight": Packed(torch.ones(4).view(torch.uint8), torch.float32, (4,)),
        "1.bias": Packed(torch.zeros(4).view(torch.uint8), torch.float32, (4,)),
    }

    def make() -> nn.Sequential:
        return nn.Sequential(nn.Linear(256, 4), nn.LayerNorm(4))

    model = build(make, weights, dtype=torch.float32, device=CPU, path=tmp_path)
    assert isinstance(model[0], PackedLinear)
    assert not any(one.is_meta for one in model.parameters())
    del weights["1.bias"]
    with pytest.raises(RenderError, match=r"no tensor for 1\.bias"):
        build(make, weights, dtype=torch.float32, device=CPU, path=tmp_path)
