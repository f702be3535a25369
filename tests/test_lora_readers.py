"""Who loads which naming: ComfyUI by its recorded key map, diffusers by loading it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import lora, lora_fit, lora_readers
from models.flux import FLUX_DEV, tensor_shapes
from models.lora_keys import Family, split, targets
from tests import lora_kit, model_files
from tests.diffusers_kit import with_lora
from tests.lora_kit import IN_COMFYUI, MINI, NAMINGS, SHAPES
from tests.model_files import TINY, Array

RECORDED = Path(__file__).with_name("data") / "comfyui_lora_keys.json"
HEARD = (
    *(Family.PEFT, Family.DIFFUSERS_OLD, Family.REFERENCE),
    *(Family.KOHYA, Family.ONETRAINER, Family.LYCORIS),
)


def read(
    folder: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> lora.LoraFile:
    return lora.read(model_files.write(folder / "x.safetensors", arrays, metadata), MINI)


def test_comfyuis_own_key_map_has_the_same_rows_for_every_name_it_hears() -> None:
    shape = replace(TINY, mlp=1024)
    sizes = tensor_shapes(shape)
    recorded = {
        key: (tensor, *(span[1:] if span else (0, sizes[tensor][0])), swapped)
        for key, (tensor, span, swapped) in json.loads(RECORDED.read_text())["keys"].items()
        if len(sizes.get(tensor, ())) == 2
    }
    ours = {
        stem: (f"{target.module}.weight", target.start_row, target.rows, target.swap_halves)
        for stem, target in targets(shape).items()
        if target.family in HEARD
    }
    assert ours == recorded


@pytest.mark.parametrize("name", NAMINGS)
def test_a_naming_that_comfyui_ignores_does_not_count_as_applying(
    tmp_path: Path, name: str
) -> None:
    naming = NAMINGS[name]
    found = read(tmp_path, lora_kit.weights(naming, naming.stems()))
    fit = lora_fit.judge(found, SHAPES)
    assert fit.total == len(naming.stems())
    if name in IN_COMFYUI:
        assert (len(fit.applied), fit.findings) == (fit.total, ())
    else:
        assert not fit.applied
        assert not fit.usable_in_part
        assert fit.converting_helps
        assert "ComfyUI ignores" in fit.texts[0]


def test_comfyui_hears_xlabs_names_only_where_the_last_blocks_of_a_whole_flux_are_changed(
    tmp_path: Path,
) -> None:
    naming = NAMINGS["xlabs"]
    stems = naming.stems(FLUX_DEV)
    few = {stem: stems[stem] for stem in list(stems)[:2]}
    marks = {
        stem: stems[stem]
        for stem in ("single_blocks.37.processor.qkv_lora", "double_blocks.18.processor.qkv_lora2")
    }
    for chosen, heard in ((few, 0), (few | marks, 4)):
        arrays = lora_kit.weights(naming, chosen, rank=1, dtype=np.float16, shape=FLUX_DEV)
        path = model_files.write(tmp_path / "x.safetensors", arrays)
        fit = lora_fit.judge(lora.read(path, FLUX_DEV), tensor_shapes(FLUX_DEV))
        assert len(fit.applied) == heard


def in_diffusers(path: Path) -> int:
    """How many modules diffusers really changes; none where it raises."""
    try:
        model = with_lora(path)
    except (KeyError, ValueError, AssertionError):
        return 0
    ups = (value for name, value in model.named_parameters() if "lora_B" in name)
    return sum(bool((up != 0).any()) for up in ups if not up.is_meta)


@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize("name", NAMINGS)
def test_diffusers_loads_what_we_say_it_loads(
    tmp_path: Path, name: str, alpha: float | None
) -> None:
    naming = NAMINGS[name]
    # Its kohya converter cuts linear1 at the width of FLUX.1 and no other.
    stems = {stem: place for stem, place in naming.stems().items() if "linear1" not in stem}
    found = read(tmp_path, lora_kit.weights(naming, stems, alpha=alpha))
    ours = lora_readers.readers(found).diffusers
    theirs = in_diffusers(found.path)
    if naming.modules == "diffusers":
        assert len(ours) == theirs
    else:  # fused layers become several modules
        assert bool(ours) == bool(theirs)
        assert len(ours) <= theirs


@pytest.mark.parametrize(
    ("name", "alphas", "metadata", "told"),
    [
        ("peft", None, {"transformer.r": 4, "transformer.lora_alpha": 8}, "in the metadata only"),
        ("peft", None, {"transformer.r": 4, "transformer.lora_alpha": 4}, ""),
        ("peft", 2.0, {"transformer.r": 4, "transformer.lora_alpha": 4}, "diffusers refuses it"),
        ("peft", 2.0, None, ""),
        ("peft down up", 2.0, None, "diffusers ignores the alpha keys"),
        ("peft down up", 4.0, None, ""),
        ("kohya", 2.0, None, ""),
    ],
)
def test_a_file_that_comfyui_and_diffusers_draw_differently_is_told(
    tmp_path: Path, name: str, alphas: float | None, metadata: dict[str, int] | None, told: str
) -> None:
    naming = NAMINGS[name]
    texts = {"lora_adapter_metadata": json.dumps(metadata)} if metadata else None
    arrays = lora_kit.weights(naming, naming.stems(), alpha=alphas)
    found = lora_readers.differences(read(tmp_path, arrays, texts))
    assert told in (found[0] if found else "")
    assert bool(told) == bool(found)


def test_alphas_on_some_layers_only_are_told(tmp_path: Path) -> None:
    naming = NAMINGS["peft"]
    arrays = lora_kit.weights(naming, naming.stems())
    arrays[next(iter(naming.stems())) + ".alpha"] = np.array(2, np.float32)
    (told,) = lora_readers.differences(read(tmp_path, arrays))
    assert told.startswith(f"1 of {len(naming.stems())} layers have an alpha")


def test_every_style_is_split_from_its_stem() -> None:
    for name, naming in NAMINGS.items():
        for stem in naming.stems():
            for end in naming.ends:
                found = split(stem + end)
                assert found is not None, name
                assert found.stem == stem
