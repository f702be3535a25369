"""The plan against real ComfyUI: log lines and loaded bytes, recorded from its running code.

benchmarks/comfyui_memory.py made the record; it says what of ComfyUI was stood in for.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core import vram_models
from models import vram_companions, vram_needs
from models.tensor_types import FileType
from models.vram_card import Card, Launch, VramState
from models.vram_modules import Weights
from models.vram_needs import Picture

RECORD = Path(__file__).with_name("data") / "comfyui_memory" / "0.3.64.json"
# What the loader nodes were given as T5.
ENCODERS = {"t5-Q8_0.gguf": "Q8_0", "float8_e4m3fn": "fp8", "float16": "fp16"}


@cache
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text())
    return found


def cases() -> list[Any]:
    return [pytest.param(case, id=_name(case)) for case in record()["cases"]]


def _name(case: Any) -> str:
    card = f"{case['total'] >> 30}GB"
    size = f"{case['width']}x{case['height']}x{case['batch']}"
    encoder = ENCODERS[case["encoder"]]
    return "-".join([case["system"], *case["flags"], card, case["unet"], encoder, size])


def launch_of(case: Any) -> Launch:
    flags = case["flags"]
    states = {state.value: state for state in VramState}
    reserve = float(flags[1]) if "--reserve-vram" in flags else None
    return Launch(
        windows=case["system"] == "nt",
        state=next((states[flag] for flag in flags if flag in states), VramState.NORMAL),
        reserve=reserve,
        smart="--disable-smart-memory" not in flags,
    )


def models_of(case: Any) -> dict[str, Weights]:
    both, _ = vram_models.encoders(ENCODERS[case["encoder"]])
    unet = vram_models.flux_dev(FileType[case["unet"]])
    return {"clip": both, "unet": unet, "vae": vram_companions.vae(None)}


@pytest.mark.parametrize("case", cases())
def test_every_line_that_comfyui_prints_is_foretold(case: Any) -> None:
    models, launch = models_of(case), launch_of(case)
    picture = Picture(case["width"], case["height"], case["batch"])
    card = Card(case["total"], case["idle"], launch)
    uses = {
        "encode": lambda: card.load(models["clip"], on_card=launch.encoders_on_card),
        "sample": lambda: card.load(
            models["unet"], vram_needs.sampling_wished(picture), vram_needs.sampling(picture)
        ),
        "decode": lambda: card.load(models["vae"], vram_needs.decoding(picture)),
    }
    for stage in case["stages"]:
        before = len(card.log_lines)
        uses[stage["stage"]]()
        assert card.log_lines[before:] == stage["lines"], stage["stage"]
        for name, loaded in stage["loaded"].items():
            if name != "clip" or launch.encoders_on_card:
                assert int(card.loaded(models[name])) == loaded, (stage["stage"], name)


@pytest.mark.parametrize("case", cases())
def test_sizes_of_models_are_those_that_comfyui_counts(case: Any) -> None:
    assert {name: one.size for name, one in models_of(case).items()} == case["sizes"]


def test_the_record_covers_what_the_plan_is_for() -> None:
    found = record()["cases"]
    assert {case["total"] >> 30 for case in found} >= {6, 8, 12, 16, 24}
    assert {case["unet"] for case in found} == {"Q4_K_S", "Q8_0", "F16"}
    assert {(case["width"], case["batch"]) for case in found} == {
        (512, 1), (512, 4), (1024, 1), (1024, 4),
    }  # fmt: skip
    assert record()["versions"]["comfyui"] == "0.3.64"
