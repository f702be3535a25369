import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from models import lora
from models.errors import ModelError
from models.flux import FLUX_DEV, FluxShape, diffusers_pieces, tensor_shapes
from models.lora import Family, LoraFile
from tests import lora_kit, model_files, random_lora
from tests.model_files import TINY, Array

SHAPES = tensor_shapes(TINY)
RANK = 4


def pair(
    stem: str,
    rows: int,
    width: int,
    suffixes: tuple[str, str] = (".lora_A.weight", ".lora_B.weight"),
) -> dict[str, Array]:
    stream = np.random.default_rng(rows)
    down, up = stream.standard_normal((RANK, width)), stream.standard_normal((rows, RANK))
    return {stem + suffixes[0]: down.astype(np.float16), stem + suffixes[1]: up.astype(np.float16)}


OLD = (".lora.down.weight", ".lora.up.weight")
KOHYA = (".lora_down.weight", ".lora_up.weight")


# As wide as FLUX.1: diffusers' converter knows no other width.
WIDE = replace(FLUX_DEV, double_blocks=1, single_blocks=1)


def kohya(tmp_path: Path, shape: FluxShape, alpha: float = 2.0) -> LoraFile:
    """A LoRA in kohya's naming on every linear layer of the blocks."""
    arrays: dict[str, Array] = {}
    for name, size in tensor_shapes(shape).items():
        if "_blocks." in name and len(size) == 2:
            stem = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
            arrays |= pair(stem, *size, KOHYA)
            arrays[f"{stem}.alpha"] = np.array(alpha, np.float16)
    return lora.read(model_files.write(tmp_path / "x.safetensors", arrays), shape)


def test_a_peft_file_is_resolved_to_rows_of_the_reference(tmp_path: Path) -> None:
    path = model_files.write(tmp_path / "x.safetensors", random_lora.weights(TINY))
    read = lora.read(path, TINY)
    assert read.family is Family.PEFT
    assert len(read.layers) == len(random_lora.targets(TINY))
    assert not read.unmatched
    assert {layer.rank for layer in read.layers} == {8}
    assert {layer.scale for layer in read.layers} == {1.0}
    by_key = {layer.down.name: layer for layer in read.layers}
    value = by_key["transformer.transformer_blocks.0.attn.to_v.lora_A.weight"]
    assert (value.module, value.start_row, value.rows) == ("double_blocks.0.img_attn.qkv", 512, 256)
    assert lora.problems(read, SHAPES) == []


def test_the_old_diffusers_names_are_understood(tmp_path: Path) -> None:
    stem = "transformer.single_transformer_blocks.0.proj_mlp"
    path = model_files.write(tmp_path / "x.safetensors", pair(stem, TINY.mlp, TINY.hidden, OLD))
    read = lora.read(path, TINY)
    assert read.family is Family.DIFFUSERS_OLD
    (layer,) = read.layers
    assert (layer.module, layer.start_row, layer.rows) == ("single_blocks.0.linear1", 768, TINY.mlp)


def test_reference_names_are_understood(tmp_path: Path) -> None:
    arrays = pair("diffusion_model.double_blocks.0.txt_attn.proj", 256, 256)
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    assert read.family is Family.REFERENCE
    assert read.layers[0].module == "double_blocks.0.txt_attn.proj"
    assert lora.problems(read, SHAPES) == []


def test_kohya_names_are_understood_with_fused_layers_and_alpha(tmp_path: Path) -> None:
    read = kohya(tmp_path, TINY)
    assert read.family is Family.KOHYA
    assert not read.unmatched
    assert lora.problems(read, SHAPES) == []
    rows = {layer.module: layer.rows for layer in read.layers}
    assert rows["double_blocks.0.img_attn.qkv"] == 768
    assert rows["single_blocks.0.linear1"] == 768 + TINY.mlp
    assert {layer.scale for layer in read.layers} == {0.5}


def test_a_kohya_file_adds_what_diffusers_own_converter_adds(tmp_path: Path) -> None:
    read = kohya(tmp_path, WIDE)
    arrays = load_file(read.path)
    layers = {f"{layer.module}.weight": layer for layer in read.layers}
    converted = _convert_kohya_flux_lora_to_diffusers(load_torch(read.path))
    seen = set()
    for name, piece in diffusers_pieces(WIDE).items():
        if layer := layers.get(piece.tensor):
            stem = f"transformer.{name.removesuffix('.weight')}"
            down, up = (converted[f"{stem}.lora_{part}.weight"].float().numpy() for part in "AB")
            vector = np.linspace(-1, 1, down.shape[1], dtype=np.float32)
            ours = arrays[layer.up.name].astype("f4") @ (arrays[layer.down.name] @ vector)
            ours = layer.scale * ours[piece.start_row : piece.start_row + piece.rows]
            np.testing.assert_allclose(ours, up @ (down @ vector), rtol=0.01, atol=0.1)
            seen.add(stem)
    assert {key.split(".lora_")[0] for key in converted} == seen


@pytest.mark.parametrize(
    "alpha",
    [np.array(2, np.float32), np.array([2], np.float16), np.array([0x4000], np.uint16)],
    ids=["F32", "F16", "BF16"],
)
def test_alpha_is_read_in_every_float(tmp_path: Path, alpha: Array) -> None:
    stem = "transformer.transformer_blocks.0.attn.to_q"
    arrays = {**pair(stem, 256, 256), f"{stem}.alpha": alpha}
    (layer,) = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY).layers
    assert (layer.alpha, layer.scale) == (2.0, 2.0 / RANK)


def test_the_last_modulation_keeps_its_swapped_halves(tmp_path: Path) -> None:
    path = model_files.write(
        tmp_path / "x.safetensors", pair("transformer.norm_out.linear", 512, 256)
    )
    (layer,) = lora.read(path, TINY).layers
    assert layer.swap_halves
    assert layer.module == "final_layer.adaLN_modulation.1"


def test_a_wrong_shape_is_a_problem_that_names_both(tmp_path: Path) -> None:
    arrays = pair("transformer.transformer_blocks.0.attn.to_q", 3072, 3072)
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    found = lora.problems(read, SHAPES)
    assert len(found) == 2
    assert "is (4, 3072), but the model needs (4, 256)" in found[0]
    assert "is (3072, 4), but the model needs (256, 4)" in found[1]


def test_unequal_ranks_are_a_problem(tmp_path: Path) -> None:
    arrays = pair("diffusion_model.double_blocks.0.img_attn.proj", 256, 256)
    up = "diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight"
    arrays[up] = arrays[up][:, :2]
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    assert lora.problems(read, SHAPES) == [f"{up} is (256, 2), but the model needs (256, 4)"]


def test_a_key_beyond_the_models_blocks_is_unmatched(tmp_path: Path) -> None:
    arrays = {
        **pair("transformer.transformer_blocks.0.attn.to_q", 256, 256),
        **pair("transformer.transformer_blocks.7.attn.to_q", 256, 256),
    }
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    assert len(read.unmatched) == 2
    found = lora.problems(read, SHAPES)
    assert len(found) == 2
    assert "transformer_blocks.7.attn.to_q.lora_A.weight names nothing in the model" in found[0]


def test_a_base_without_the_layer_is_a_problem(tmp_path: Path) -> None:
    arrays = pair("transformer.transformer_blocks.0.attn.to_q", 256, 256)
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    shapes = {name: size for name, size in SHAPES.items() if "qkv" not in name}
    assert lora.problems(read, shapes) == ["double_blocks.0.img_attn.qkv has no rows 0 to 256"]


def test_text_encoder_keys_are_set_aside(tmp_path: Path) -> None:
    arrays = {
        **pair("lora_unet_double_blocks_0_img_attn_proj", 256, 256, KOHYA),
        **pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 8, 8, KOHYA),
    }
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    assert len(read.text_encoder) == 2
    assert lora.problems(read, SHAPES) == []


def test_trigger_words_come_from_the_metadata(tmp_path: Path) -> None:
    arrays = pair("transformer.transformer_blocks.0.attn.to_q", 256, 256)
    metadata = {"trigger_words": "vulcan, forge,", "modelspec.trigger_phrase": "vulcan"}
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays, metadata), TINY)
    assert read.trigger_words == ("vulcan", "forge")
    assert read.metadata == metadata


STEM = "transformer.transformer_blocks.0.attn.to_q"
SDXL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (lambda: pair(SDXL, 640, 640, KOHYA), "another kind of model than FLUX.1"),
        (lambda: pair("text_encoder.text_model.x", 8, 8), "text encoders only"),
        (lambda: {"img_in.weight": np.zeros((4, 4), "f2")}, "it is no LoRA"),
        (dict, "no tensor at all"),
        (lambda: {f"{STEM}.hada_w1_a": np.zeros(4, "f2")}, "LoHa"),
        (lambda: {f"{STEM}.lokr_w1": np.zeros(4, "f2")}, "LoKr"),
        (lambda: {**pair(STEM, 256, 256), f"{STEM}.dora_scale": np.zeros(4, "f2")}, "DoRA"),
        (lambda: {"diffusion_model.img_in.diff": np.zeros(4, "f2")}, "full difference"),
        (lambda: {f"{STEM}.lora_A.weight": np.zeros((4, 256), "f2")}, "no pair of down and up"),
        (
            lambda: {f"{STEM}{end}": np.zeros((4, 4, 1, 1), "f2") for end in KOHYA},
            "no float matrix",
        ),
        (
            lambda: {**pair(STEM, 256, 256), f"{STEM}.alpha": np.zeros(2, "f2")},
            "no single number",
        ),
    ],
)
def test_what_is_no_lora_for_flux_is_refused_with_the_reason(
    tmp_path: Path, arrays: Callable[[], dict[str, Array]], why: str
) -> None:
    path = model_files.write(tmp_path / "x.safetensors", arrays())
    with pytest.raises(ModelError) as caught:
        lora.read(path, TINY)
    assert why in str(caught.value)
    assert caught.value.path == path


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="Vulcan never opens one"):
        lora.read(path, TINY)


def test_two_tensors_for_the_same_half_of_a_pair_are_damage_not_a_choice(tmp_path: Path) -> None:
    arrays = {**pair(STEM, 256, 256), **pair(STEM, 256, 256, OLD)}
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(ModelError, match="are the same half of a pair"):
        lora.read(path, TINY)


def test_halves_with_different_endings_are_no_pair(tmp_path: Path) -> None:
    arrays = pair(STEM, 256, 256, (".lora_A.weight", ".lora_up.weight"))
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(ModelError, match="their endings differ"):
        lora.read(path, TINY)


def test_text_encoders_may_be_relatives_of_lora_as_no_host_here_applies_them(
    tmp_path: Path,
) -> None:
    arrays = {**pair(STEM, 256, 256), "lora_te1_x.dora_scale": np.zeros(4, "f2")}
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays), TINY)
    assert read.text_encoder == ("lora_te1_x.dora_scale",)


def adapter(**entries: object) -> dict[str, str]:
    table = {f"transformer.{key}": value for key, value in entries.items()}
    return {"lora_adapter_metadata": json.dumps(table)}


@pytest.mark.parametrize(
    ("metadata", "scale"),
    [
        (adapter(r=4, lora_alpha=8), 2.0),
        (adapter(r=4, lora_alpha=8, use_rslora=True), 4.0),
        (adapter(r=4, lora_alpha=8, alpha_pattern={"transformer_blocks.0.attn.to_q": 2}), 0.5),
        (adapter(r=4, lora_alpha=8, alpha_pattern={"to_q": 2}), 0.5),
        (adapter(r=4, lora_alpha=8, alpha_pattern={"^to_q": 2}), 2.0),
        (adapter(r=8, lora_alpha=8, rank_pattern={"attn.to_q": 4}), 2.0),
        ({"lora_adapter_metadata": '{"text_encoder.lora_alpha": 8, "text_encoder.r": 4}'}, 1.0),
        ({}, 1.0),
    ],
)
def test_the_scale_of_diffusers_metadata_is_pefts(
    tmp_path: Path, metadata: dict[str, str], scale: float
) -> None:
    path = model_files.write(tmp_path / "x.safetensors", pair(STEM, 256, 256), metadata)
    (layer,) = lora.read(path, TINY).layers
    assert (layer.scale, layer.scale_in_comfyui) == (scale, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "[" * 100_000, '{"transformer.lora_alpha": 8}'),
        '{"transformer.lora_alpha": "8", "transformer.r": 4}',
        '{"transformer.lora_alpha": 8, "transformer.r": 0}',
        '{"transformer.lora_alpha": 8, "transformer.r": 4,'
        ' "transformer.alpha_pattern": {"(a+)+": 1}}',
    ],
)
def test_metadata_whose_scale_cannot_be_known_are_refused_and_no_pattern_of_theirs_is_run(
    tmp_path: Path, text: str
) -> None:
    metadata = {"lora_adapter_metadata": text}
    path = model_files.write(tmp_path / "x.safetensors", pair(STEM, 256, 256), metadata)
    with pytest.raises(ModelError, match="its scale is not known") as caught:
        lora.read(path, TINY)
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["kohya", "peft", "reference", "xlabs"])
@pytest.mark.parametrize("shape", [TINY, lora_kit.MINI])
def test_without_a_base_its_sizes_are_guessed_from_the_lora(
    tmp_path: Path, name: str, shape: FluxShape
) -> None:
    naming = lora_kit.NAMINGS[name]
    arrays = lora_kit.weights(naming, naming.stems(shape), shape=shape)
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays))
    blocks = ("hidden", "mlp", "double_blocks", "single_blocks")
    # XLabs' names reach no layer outside the blocks.
    ends = ("in_channels", "context", "pooled", "out_channels") if name != "xlabs" else ()
    for size in (*blocks, *ends):
        assert getattr(read.shape, size) == getattr(shape, size)
    assert lora.problems(read, tensor_shapes(read.shape)) == []


def test_a_lora_as_wide_as_flux_is_taken_for_one_of_flux_dev(tmp_path: Path) -> None:
    arrays = pair("lora_unet_double_blocks_3_img_mlp_0", 12288, 3072, KOHYA)
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays))
    assert read.shape == FLUX_DEV


def test_a_block_number_beyond_all_reason_takes_no_memory(tmp_path: Path) -> None:
    arrays = {
        **pair("diffusion_model.double_blocks.0.img_attn.proj", 256, 256),
        **pair("diffusion_model.double_blocks.999999999.img_attn.proj", 256, 256),
    }
    read = lora.read(model_files.write(tmp_path / "x.safetensors", arrays))
    assert read.shape.double_blocks == 1
    assert len(read.unmatched) == 2
