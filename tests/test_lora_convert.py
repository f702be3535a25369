"""The converted LoRA changes every row of the base as its source does, for every naming."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from models import lora, store
from models.errors import ModelError
from models.flux import FLUX_DEV
from quantize import lora_convert, lora_cut
from quantize.errors import Problem, QuantizeError
from quantize.lora_convert import Converted
from tests import lora_kit, model_files
from tests.diffusers_kit import with_lora
from tests.lora_kit import AB, DOWN_UP, MINI, NAMINGS
from tests.model_files import Array

KOHYA, PEFT = NAMINGS["kohya"], NAMINGS["peft"]


def write(folder: Path, arrays: dict[str, Array], metadata: dict[str, str] | None = None) -> Path:
    return model_files.write(folder / "source.safetensors", arrays, metadata)


def convert(source: Path, force: bool = False) -> tuple[Path, Converted]:
    target = source.with_name("target.safetensors")
    plan = lora_cut.plan(lora.read(source, MINI))
    return target, lora_convert.convert(plan, target, force=force)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(NAMINGS)),
    rank=st.integers(1, 9),
    alpha=st.none() | st.sampled_from([0.0, -2.0, 0.3, 1.0, 4.0, 16.0]),
    dtype=st.sampled_from([np.float32, np.float16]),
    data=st.data(),
)
def test_the_change_of_every_row_survives_conversion_from_every_naming(
    tmp_path: Path, name: str, rank: int, alpha: float | None, dtype: type, data: st.DataObject
) -> None:
    naming = NAMINGS[name]
    stems = naming.stems()
    chosen = data.draw(st.sets(st.sampled_from(sorted(stems)), min_size=1))
    arrays = lora_kit.weights(
        naming, {stem: stems[stem] for stem in chosen}, rank=rank, alpha=alpha, dtype=dtype
    )
    source = write(tmp_path, arrays)
    target, _ = convert(source, force=True)
    meant = lora_kit.meant(naming, arrays)
    lora_kit.assert_same(meant, lora_kit.of_layers(lora.read(source, MINI)))
    lora_kit.assert_same(
        meant, lora_kit.of_converted(target), 2e-3 if dtype is np.float16 else 1e-6
    )
    again = lora.read(target, MINI)
    assert again.families == (lora.Family.PEFT,)
    assert {layer.scale for layer in again.layers} == {1.0}


@pytest.mark.parametrize("name", NAMINGS)
def test_diffusers_adds_what_the_source_means(tmp_path: Path, name: str) -> None:
    naming = NAMINGS[name]
    arrays = lora_kit.weights(naming, naming.stems(), alpha=2.0)
    target, _ = convert(write(tmp_path, arrays))
    model = with_lora(target)
    loaded: dict[str, Array] = {}
    for module, layer in model.named_modules():
        if hasattr(layer, "lora_A") and len(layer.lora_A):
            ((adapter, down),) = layer.lora_A.items()
            up = layer.lora_B[adapter].weight * layer.scaling[adapter]
            loaded[f"transformer.{module}{AB[0]}"] = down.weight.detach().numpy()
            loaded[f"transformer.{module}{AB[1]}"] = up.detach().numpy()
    assert not any(torch.from_numpy(array).isnan().any() for array in loaded.values())
    lora_kit.assert_same(lora_kit.meant(naming, arrays), lora_kit.meant(PEFT, loaded))


def test_a_scale_that_stands_in_the_metadata_only_is_multiplied_in_and_taken_out(
    tmp_path: Path,
) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    adapter = {"transformer.r": 4, "transformer.lora_alpha": 8}
    source = write(tmp_path, arrays, {"lora_adapter_metadata": json.dumps(adapter), "name": "x"})
    target, done = convert(source)
    lora_kit.assert_same(lora_kit.meant(PEFT, arrays, scale=2.0), lora_kit.of_converted(target))
    assert (done.scaled, done.inexact) == (done.modules, 0)
    with safe_open(target, "np") as file:
        metadata = file.metadata()
    assert metadata == {
        "format": "pt",
        "name": "x",
        "vulcan.converted_from": "peft",
        "vulcan.source_sha256": store.sha256(source),
    }


def test_hashes_that_are_not_the_new_files_are_left_out(tmp_path: Path) -> None:
    one = dict(list(PEFT.stems().items())[:1])
    made = {"sshs_model_hash": "ab", "ss_network_module": "networks.lora_flux", "ss_steps": "9"}
    target, _ = convert(write(tmp_path, lora_kit.weights(PEFT, one), made))
    with safe_open(target, "np") as file:
        assert file.metadata()["ss_steps"] == "9"
        assert not {"sshs_model_hash", "ss_network_module"} & file.metadata().keys()


def test_a_fused_layer_and_its_parts_in_one_file_add_up(tmp_path: Path) -> None:
    whole = {
        "lora_unet_double_blocks_0_img_attn_qkv": KOHYA.stems()[
            "lora_unet_double_blocks_0_img_attn_qkv"
        ]
    }
    part = {
        "transformer.transformer_blocks.0.attn.to_k": PEFT.stems()[
            "transformer.transformer_blocks.0.attn.to_k"
        ]
    }
    fused = lora_kit.weights(KOHYA, whole, rank=3, alpha=6.0, dtype=np.float16)
    split = lora_kit.weights(PEFT, part, rank=2, seed=1)
    target, _ = convert(write(tmp_path, {**fused, **split}))
    meant = lora_kit.meant(KOHYA, fused)
    (name,) = meant
    meant[name] = meant[name] + lora_kit.meant(PEFT, split)[name]
    lora_kit.assert_same(meant, lora_kit.of_converted(target), 1e-3)


def test_what_needs_no_scaling_keeps_every_bit(tmp_path: Path) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems(), dtype=np.float16)
    target, done = convert(write(tmp_path, arrays))
    assert (done.scaled, done.error) == (0, 0.0)
    for name, array in load_file(target).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == np.float16


def test_bf16_stays_bf16(tmp_path: Path) -> None:
    place = {
        "lora_unet_single_blocks_0_linear1": KOHYA.stems()["lora_unet_single_blocks_0_linear1"]
    }
    arrays = lora_kit.weights(KOHYA, place, alpha=1.0)
    halves = {name: model_files.to_bf16(array) for name, array in arrays.items()}
    target, done = convert(write(tmp_path, halves))
    assert done.modules == 4
    with safe_open(target, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    exact = {name: model_files.from_bf16(array) for name, array in halves.items()}
    found = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    lora_kit.assert_same(lora_kit.meant(KOHYA, exact), lora_kit.meant(PEFT, found), 2.0**-7)


@pytest.mark.parametrize("factor", [1e-5, 1e4])
def test_numbers_that_half_precision_cannot_hold_are_kept_in_f32(
    tmp_path: Path, factor: float
) -> None:
    place = {"lora_unet_img_in": KOHYA.stems()["lora_unet_img_in"]}
    arrays = lora_kit.weights(KOHYA, place, dtype=np.float16)
    up = "lora_unet_img_in.lora_up.weight"
    arrays[up] = (arrays[up] * factor).astype(np.float16)
    arrays["lora_unet_img_in.alpha"] = np.array(0.25 if factor < 1 else 64, np.float16)
    target, done = convert(write(tmp_path, arrays))
    assert done.widened == 1
    lora_kit.assert_same(lora_kit.meant(KOHYA, arrays), lora_kit.of_converted(target))


def test_text_encoder_tensors_are_taken_along_as_they_are(tmp_path: Path) -> None:
    place = {"lora_unet_img_in": KOHYA.stems()["lora_unet_img_in"]}
    encoder = {
        f"lora_te1_text_model_encoder_layers_0_mlp_fc1{end}": np.full(size, 2, np.float16)
        for end, size in ((DOWN_UP[0], (4, 8)), (DOWN_UP[1], (8, 4)), (".alpha", ()))
    }
    target, done = convert(write(tmp_path, {**lora_kit.weights(KOHYA, place), **encoder}))
    assert done.carried == 3
    found = load_file(target)
    for name, array in encoder.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_would_be_lost_is_no_conversion(tmp_path: Path) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    arrays["transformer.pos_embed.lora_A.weight"] = np.zeros((4, 4), np.float32)
    with pytest.raises(ModelError, match="cannot be converted without losing some of it"):
        lora_cut.plan(lora.read(write(tmp_path, arrays), MINI))


def one(tmp_path: Path) -> Path:
    return write(tmp_path, lora_kit.weights(PEFT, dict(list(PEFT.stems().items())[:2])))


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    target, _ = convert(one(tmp_path))
    before = target.read_bytes()
    with pytest.raises(QuantizeError, match="--force") as caught:
        convert(one(tmp_path))
    assert caught.value.kind is Problem.TARGET_EXISTS
    assert target.read_bytes() == before
    convert(one(tmp_path), force=True)


def test_the_source_is_never_the_target_nor_is_a_folder(tmp_path: Path) -> None:
    source = one(tmp_path)
    link = tmp_path / "link.safetensors"
    os.link(source, link)
    plan = lora_cut.plan(lora.read(source, MINI))
    for target in (source, link, tmp_path):
        with pytest.raises(QuantizeError, match="is the source, or a folder"):
            lora_convert.convert(plan, target, force=True)
    with pytest.raises(QuantizeError, match=r"must end in \.safetensors"):
        lora_convert.convert(plan, tmp_path / "x.bin")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_is_told_by_its_tensor_and_nothing_is_left(
    tmp_path: Path, bad: float
) -> None:
    arrays = lora_kit.weights(PEFT, dict(list(PEFT.stems().items())[:2]))
    name = list(arrays)[2]
    arrays[name][1, 1] = bad
    source = write(tmp_path, arrays)
    with pytest.raises(QuantizeError, match="NaN or infinity: in transformer"):
        convert(source)
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = one(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(QuantizeError, match="No space left"):
        convert(source)
    assert list(tmp_path.iterdir()) == [source]


def test_a_wide_kohya_file_becomes_a_wide_peft_file(tmp_path: Path) -> None:
    shape = replace(FLUX_DEV, double_blocks=1, single_blocks=1)
    stems = {
        stem: place
        for stem, place in KOHYA.stems(shape).items()
        if stem.endswith(("img_attn_proj", "linear1"))
    }
    arrays = lora_kit.weights(KOHYA, stems, rank=2, dtype=np.float16, shape=shape)
    source = write(tmp_path, arrays)
    target = tmp_path / "t.safetensors"
    guessed = lora.read(source)
    assert guessed.shape == FLUX_DEV
    lora_convert.convert(lora_cut.plan(guessed), target)
    found = load_file(target)
    fused = arrays["lora_unet_single_blocks_0_linear1.lora_up.weight"]
    part = found["transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight"]
    np.testing.assert_array_equal(part, fused[3 * 3072 :])
