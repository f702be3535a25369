import gguf
import pytest

from models.errors import ModelError
from models.tensor_types import BLOCKS, FileType, TensorType, byte_size, fits


@pytest.mark.parametrize("kind", TensorType)
def test_ids_and_block_sizes_are_ggmls(kind: TensorType) -> None:
    theirs = gguf.GGMLQuantizationType[kind.name]
    assert kind == theirs
    assert (BLOCKS[kind].size, BLOCKS[kind].nbytes) == gguf.GGML_QUANT_SIZES[theirs]


@pytest.mark.parametrize("kind", FileType)
def test_file_type_ids_are_llama_cpps(kind: FileType) -> None:
    assert kind == gguf.LlamaFileType[f"MOSTLY_{kind.name}"]


@pytest.mark.parametrize(
    ("shape", "kind", "nbytes"),
    [
        ((3072,), TensorType.F32, 12_288),
        ((3072, 64), TensorType.F16, 393_216),
        ((2, 512), TensorType.Q4_K, 4 * 144),
        ((9216, 3072), TensorType.Q4_K, 9216 * 12 * 144),
        ((3, 64), TensorType.Q8_0, 3 * 2 * 34),
        ((), TensorType.F32, 4),
        ((0, 256), TensorType.Q4_K, 0),
    ],
)
def test_a_tensor_takes_its_blocks_bytes(
    shape: tuple[int, ...], kind: TensorType, nbytes: int
) -> None:
    assert fits(shape, kind)
    assert byte_size(shape, kind) == nbytes


@pytest.mark.parametrize("shape", [(256, 100), (128,), ()])
def test_a_row_that_is_no_whole_number_of_blocks_is_refused(shape: tuple[int, ...]) -> None:
    assert not fits(shape, TensorType.Q4_K)
    with pytest.raises(ModelError, match=r"Q4_K cannot hold .* no multiple of 256 weights"):
        byte_size(shape, TensorType.Q4_K)
