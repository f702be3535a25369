"""What ComfyUI would make of a LoRA, and what is refused, told or let pass for it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from models import lora, lora_fit, pairing
from models.lora_fit import Fit
from models.pairing import PairingError
from tests import lora_kit, model_files
from tests.lora_kit import AB, MINI, NAMINGS, SHAPES
from tests.model_files import Array
from tests.test_pairing import unet

PEFT = NAMINGS["peft"]
QUERY = "transformer.transformer_blocks.0.attn.to_q"
PLACE = {QUERY: PEFT.stems()[QUERY]}
METADATA = {"lora_adapter_metadata": json.dumps({"transformer.r": 4, "transformer.lora_alpha": 8})}


def file(
    folder: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> lora.LoraFile:
    return lora.read(model_files.write(folder / "x.safetensors", arrays, metadata), MINI)


def fit(folder: Path, arrays: Mapping[str, Array]) -> Fit:
    return lora_fit.judge(file(folder, arrays), SHAPES)


def test_a_stray_key_is_left_out_and_the_rest_could_pass(tmp_path: Path) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    arrays |= {f"transformer.extra{end}": np.zeros((4, 4), np.float32) for end in AB}
    found = fit(tmp_path, arrays)
    assert found.told == f"{len(PEFT.stems())} of {len(PEFT.stems()) + 1} layers"
    assert found.usable_in_part
    assert not found.converting_helps


def test_two_layers_for_the_same_rows_never_pass_since_comfyui_drops_one(tmp_path: Path) -> None:
    kohya = NAMINGS["kohya"]
    place = {
        "lora_unet_double_blocks_0_img_attn_proj": kohya.stems()[
            "lora_unet_double_blocks_0_img_attn_proj"
        ]
    }
    out = "transformer.transformer_blocks.0.attn.to_out.0"
    arrays = {
        **lora_kit.weights(kohya, place),
        **lora_kit.weights(PEFT, {out: PEFT.stems()[out]}),
    }
    found = fit(tmp_path, arrays)
    assert "change the same rows of double_blocks.0.img_attn.proj" in found.texts[0]
    assert not found.usable_in_part


def test_a_misfit_that_comfyui_would_bend_into_shape_never_passes(tmp_path: Path) -> None:
    """Torch reshapes (64, 16) to (32, 32): the numbers are there, at the wrong places."""
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    arrays[QUERY + AB[0]] = np.zeros((4, 16), np.float32)
    arrays[QUERY + AB[1]] = np.zeros((64, 4), np.float32)
    found = fit(tmp_path, arrays)
    assert not found.usable_in_part
    arrays[QUERY + AB[1]] = np.zeros((63, 4), np.float32)
    assert fit(tmp_path, arrays).usable_in_part


@pytest.mark.parametrize("alpha", [np.nan, np.inf])
def test_an_alpha_that_is_no_number_never_passes(tmp_path: Path, alpha: float) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    arrays[f"{QUERY}.alpha"] = np.array(alpha, np.float32)
    found = fit(tmp_path, arrays)
    assert "no number to multiply by" in found.texts[0]
    assert not found.usable_in_part


@pytest.mark.parametrize(
    ("alpha", "told"),
    [
        (0.0, "a scale of 0"),
        (-4.0, "a negative scale"),
        (65.0, "a scale above 16"),
        (0.01, "a scale below 1/256"),
        (4.0, ""),
    ],
)
def test_an_alpha_that_is_most_likely_a_mistake_is_told(
    tmp_path: Path, alpha: float, told: str
) -> None:
    read = file(tmp_path, lora_kit.weights(PEFT, PLACE, alpha=alpha))
    assert lora_fit.judge(read, SHAPES).findings == ()
    warnings = lora_fit.warnings(read)
    assert [told in text for text in warnings] == ([True] if told else [])


def test_names_that_comfyui_ignores_are_refused_with_the_command_that_helps(
    tmp_path: Path,
) -> None:
    bare = NAMINGS["diffusers_bare"]
    read = file(tmp_path, lora_kit.weights(bare, bare.stems()))
    base = unet(tmp_path / "x.gguf", MINI)
    for allowed in (False, True):  # in no part does it apply
        with pytest.raises(PairingError, match=r"lora convert .*x\.safetensors OUT"):
            pairing.check(base, read, allow_partial=allowed)


def test_what_applies_in_part_passes_only_if_it_is_allowed_to(tmp_path: Path) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    arrays[QUERY + AB[0]] = np.zeros((4, 7), np.float32)
    read, base = file(tmp_path, arrays), unet(tmp_path / "x.gguf", MINI)
    with pytest.raises(PairingError, match=r"let pass what applies \(\d+ of \d+ layers\)"):
        pairing.check(base, read)
    passed = pairing.check(base, read, allow_partial=True)
    assert len(passed.applied) == passed.total - 1
    assert QUERY + AB[1] not in {layer.up.name for layer in passed.applied}


def test_a_scale_that_comfyui_does_not_read_is_refused_or_said(tmp_path: Path) -> None:
    read = file(tmp_path, lora_kit.weights(PEFT, PLACE), METADATA)
    base = unet(tmp_path / "x.gguf", MINI)
    with pytest.raises(PairingError, match="lora convert") as caught:
        pairing.check(base, read)
    assert "diffusers uses it, ComfyUI takes 1" in str(caught.value)
    passed = pairing.check(base, read, allow_partial=True)
    assert passed.told == "1 of 1 layers, 1 at another scale than the file means"
