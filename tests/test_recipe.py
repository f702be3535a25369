import pytest

from models import gguf_layout
from models.flux import FLUX_DEV, tensor_shapes
from models.gguf_layout import Layout
from models.tensor_types import FileType, TensorType
from quantize import recipe

DEV = tensor_shapes(FLUX_DEV)

# Data bytes of FLUX.1-dev from a BF16 and from an F16 source, as computed from the peers' rules
# and, for Q4_K_S, checked against llama-quantize's own file.
SIZES = {
    FileType.Q2_K: (4_023_636_224, 4_017_465_472),
    FileType.Q3_K_S: (5_225_550_080, 5_219_379_328),
    FileType.Q3_K_M: (5_368_434_944, 5_362_264_192),
    FileType.Q3_K_L: (5_368_434_944, 5_362_264_192),
    FileType.Q4_0: (6_797_283_584, 6_791_112_832),
    FileType.Q4_1: (7_536_922_880, 7_530_752_128),
    FileType.Q4_K_S: (6_797_283_584, 6_791_112_832),
    FileType.Q4_K_M: (6_931_763_456, 6_925_592_704),
    FileType.Q5_0: (8_276_562_176, 8_270_391_424),
    FileType.Q5_1: (9_016_201_472, 9_010_030_720),
    FileType.Q5_K_S: (8_276_562_176, 8_270_391_424),
    FileType.Q5_K_M: (8_419_447_040, 8_413_276_288),
    FileType.Q6_K: (9_848_295_680, 9_842_124_928),
    FileType.Q8_0: (12_714_397_952, 12_708_227_200),
}


def planned(dtype: str, file_type: FileType) -> dict[str, TensorType]:
    return {
        name: recipe.tensor_type(name, shape, recipe.stored_type(dtype, shape), file_type)
        for name, shape in DEV.items()
    }


def laid_out(dtype: str, file_type: FileType) -> Layout:
    types = planned(dtype, file_type)
    return gguf_layout.layout("flux", file_type, ((n, DEV[n], types[n]) for n in DEV))


@pytest.mark.parametrize("file_type", SIZES)
def test_the_sizes_of_flux_dev_are_those_of_the_peers(file_type: FileType) -> None:
    from_bf16, from_f16 = SIZES[file_type]
    for dtype, size in (("BF16", from_bf16), ("F16", from_f16)):
        layout = laid_out(dtype, file_type)
        assert layout.total_bytes - len(layout.header) == size


def test_the_whole_q4_k_s_file_is_as_long_as_llama_quantizes() -> None:
    layout = laid_out("BF16", FileType.Q4_K_S)
    assert (len(layout.header), layout.total_bytes) == (54_304, 6_797_337_888)


def test_q4_k_s_from_bf16_has_304_q4_k_10_bf16_and_466_f32_tensors() -> None:
    types = list(planned("BF16", FileType.Q4_K_S).values())
    assert types.count(TensorType.Q4_K) == 304
    assert types.count(TensorType.BF16) == 10
    assert types.count(TensorType.F32) == 466


def test_from_f16_everything_else_stays_f16_also_biases() -> None:
    types = list(planned("F16", FileType.Q4_K_S).values())
    assert types.count(TensorType.Q4_K) == 304
    assert types.count(TensorType.F16) == 476


def test_from_f32_matrices_become_f16_and_vectors_stay_f32() -> None:
    types = list(planned("F32", FileType.Q4_K_S).values())
    assert types.count(TensorType.F16) == 10
    assert types.count(TensorType.F32) == 466


def test_every_file_type_has_a_recipe() -> None:
    assert set(recipe.RECIPES) == set(FileType)


@pytest.mark.parametrize(
    ("file_type", "qkv", "other"),
    [
        (FileType.Q3_K_M, TensorType.Q4_K, TensorType.Q3_K),
        (FileType.Q4_K_M, TensorType.Q5_K, TensorType.Q4_K),
        (FileType.Q5_K_M, TensorType.Q6_K, TensorType.Q5_K),
        (FileType.Q4_K_S, TensorType.Q4_K, TensorType.Q4_K),
    ],
)
def test_the_medium_types_spend_more_on_the_38_fused_qkv(
    file_type: FileType, qkv: TensorType, other: TensorType
) -> None:
    types = planned("BF16", file_type)
    fused = {name for name in types if name.endswith("attn.qkv.weight")}
    assert len(fused) == 38
    assert {types[name] for name in fused} == {qkv}
    assert types["single_blocks.0.linear1.weight"] is other
    assert types["double_blocks.0.img_mlp.2.weight"] is other


@pytest.mark.parametrize(
    ("name", "shape", "quantised"),
    [
        ("single_blocks.0.linear1.weight", (21504, 3072), True),
        ("single_blocks.0.linear1.bias", (21504,), False),
        ("single_blocks.0.norm.key_norm.scale", (128,), False),
        ("single_blocks.0.odd.weight", (1, 3072), False),
        ("single_blocks.0.odd.weight", (4, 4, 256), False),
        *((f"{keep}linear.weight", (3072, 3072), False) for keep in recipe.KEEP),
    ],
)
def test_only_matrices_of_weights_inside_the_blocks_are_quantised(
    name: str, shape: tuple[int, ...], quantised: bool
) -> None:
    assert recipe.is_quantised(name, shape) is quantised


@pytest.mark.parametrize(
    ("dtype", "shape", "stored"),
    [
        ("BF16", (3072,), TensorType.F32),
        ("BF16", (32, 32), TensorType.F32),
        ("BF16", (33, 32), TensorType.BF16),
        ("F32", (3072,), TensorType.F32),
        ("F32", (33, 32), TensorType.F16),
        ("F16", (3072,), TensorType.F16),
        ("F16", (2, 2), TensorType.F16),
    ],
)
def test_the_source_sets_what_an_unquantised_file_would_store(
    dtype: str, shape: tuple[int, ...], stored: TensorType
) -> None:
    assert recipe.stored_type(dtype, shape) is stored


def test_rows_that_are_no_whole_blocks_become_f16() -> None:
    kind = recipe.tensor_type("a.weight", (256, 100), TensorType.BF16, FileType.Q4_K_S)
    assert kind is TensorType.F16
    kind = recipe.tensor_type("a.weight", (256, 96), TensorType.BF16, FileType.Q4_0)
    assert kind is TensorType.Q4_0
