"""The lora command as a user sees it: what it prints, its exit codes, and that jobs obey it."""

import io
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from configs import settings as configs
from core import (
    a1111,
    arguments,
    lora_command,
    lora_inspection,
    lora_report,
    prepare,
    record,
)
from core.prepare import Loras
from core.provenance import Hashes, Provenance
from models.errors import ModelError
from models.pairing import PairingError
from tests import lora_kit, model_files
from tests.lora_kit import AB, MINI, NAMINGS
from tests.sample_request import REQUEST
from tests.test_pairing import unet

PEFT, KOHYA = NAMINGS["peft"], NAMINGS["kohya"]
METADATA = {"trigger_words": "ohwx", "ss_steps": "2400", "sshs_model_hash": "00" * 32}


def run(*words: object) -> int:
    return lora_command.run(arguments.parse(["lora", *map(str, words)]))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return unet(tmp_path / "base.gguf", MINI).path


def made(folder: Path, name: str = "kohya", **how: float) -> Path:
    arrays = lora_kit.weights(NAMINGS[name], NAMINGS[name].stems(), **how)  # type: ignore[arg-type] # one number
    return model_files.write(folder / "my lora.safetensors", arrays, METADATA)


def test_inspect_shows_what_is_in_a_file_within_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("inspect", made(tmp_path, alpha=2.0)) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for told in ("naming kohya", "rank 4, scale 0.5", "ohwx", "steps 2400", "AutoV2", "2/2"):
        assert told in shown
    assert "its tensors were changed since its trainer hashed them" in " ".join(shown.split())


def test_a_name_or_terminal_that_is_not_utf8_breaks_nothing(tmp_path: Path) -> None:
    odd = os.fsdecode(b"odd \xff [red].safetensors")
    path = made(tmp_path).rename(tmp_path / odd)
    for encoding in ("ascii", "utf-8"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        lora_report.show(
            Console(file=stream, width=80),
            lora_inspection.identify(path),
            *lora_inspection.refused(path, MINI),
        )
        stream.flush()
        assert b"[red].safetensors" in stream.buffer.getvalue()


def test_inspect_gives_every_layer_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, alpha=2.0)
    assert run("inspect", path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    meant = lora_kit.meant(KOHYA, lora_kit.weights(KOHYA, KOHYA.stems(), alpha=2.0))
    norms = {f"{layer['module']}.weight": layer["norm"] for layer in found["layers"]}
    assert norms == pytest.approx({k: np.linalg.norm(v) for k, v in meant.items()}, rel=1e-6)
    assert (found["naming"], found["trigger_words"]) == ("kohya", ["ohwx"])


def test_inspect_says_of_a_relative_what_it_is_and_still_its_hashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {"lycoris_single_transformer_blocks_0_proj_mlp.lokr_w1": np.zeros((2, 2), np.float32)}
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    assert run("inspect", path) == 1
    shown = capsys.readouterr().out
    assert "AutoV2" in shown
    assert "Not usable: Vulcan cannot apply this LoRA: it is LoKr" in shown


def test_check_is_0_where_all_applies_and_1_where_not(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", made(tmp_path), "--unet", base) == 0
    assert "ComfyUI applies 36 of 36 layers" in " ".join(capsys.readouterr().out.split())
    assert run("check", made(tmp_path, "diffusers_bare"), "--unet", base, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["fits"]
    assert "ComfyUI ignores" in found["findings"][0]


@pytest.mark.parametrize("layout", ["reference", "diffusers"])
def test_check_takes_a_safetensors_base_in_both_layouts(tmp_path: Path, layout: str) -> None:
    arrays = model_files.flux_arrays(MINI)
    if layout == "diffusers":
        arrays = model_files.to_diffusers(arrays, MINI)
    path = model_files.write(tmp_path / "base.safetensors", arrays)
    assert run("check", made(tmp_path), "--unet", path) == 0


def test_check_says_in_one_line_that_the_base_is_another_size(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems(model_files.TINY), shape=model_files.TINY)
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    assert run("check", path, "--unet", base) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "it was made for a Flux of width 256 (MLP 512), not 32 (128)" in shown


def test_check_finds_nan(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = lora_kit.weights(PEFT, PEFT.stems())
    next(iter(arrays.values()))[0, 0] = np.nan
    path = model_files.write(tmp_path / "x.safetensors", arrays)
    assert run("check", path, "--unet", base) == 1
    assert "holds NaN or infinity" in capsys.readouterr().out


def test_convert_says_what_it_did(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.safetensors"
    assert run("convert", made(tmp_path, alpha=3.0), target, "--unet", base) == 0
    shown = capsys.readouterr().out
    assert "50 modules from 36 layers in kohya naming" in " ".join(shown.split())
    assert "are no power of two" in shown
    assert run("convert", made(tmp_path, alpha=2.0), target, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["inexact"] == 0
    assert run("check", target, "--unet", base) == 0


def test_a_base_that_is_none_is_named(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(ModelError, match="not those of a FLUX") as caught:
        run("check", path, "--unet", path)
    assert caught.value.path == path


# --- jobs -----------------------------------------------------------------------------------------


def loras(folder: Path, base: Path, allow: bool) -> Loras:
    from models import gguf_file

    flags = {"lora": {"allow_partial": allow}}
    settings = configs.load(None, flags, {})
    return prepare.Loras(folder, gguf_file.read_header(base), settings, lambda _: "ab")


def partly(folder: Path) -> str:
    """Write a LoRA of which one of two layers has no target."""
    stem = "transformer.transformer_blocks.0.attn.to_q"
    arrays = lora_kit.weights(PEFT, {stem: PEFT.stems()[stem]})
    arrays |= {f"transformer.nowhere{end}": np.zeros((4, 4), np.float32) for end in AB}
    return model_files.write(folder / "part.safetensors", arrays).name


def test_a_job_with_a_lora_that_applies_in_part_is_refused_unless_that_is_allowed(
    tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = partly(tmp_path)
    with pytest.raises(PairingError, match="names nothing in the model"):
        loras(tmp_path, base, allow=False).find(name)
    with caplog.at_level(logging.WARNING):
        found = loras(tmp_path, base, allow=True).find(name)
    assert found.applied == "1 of 2 layers"
    assert "names nothing in the model" in caplog.text


def test_a_lora_that_applies_as_a_whole_says_nothing_of_it(tmp_path: Path, base: Path) -> None:
    name = made(tmp_path).name
    assert loras(tmp_path, base, allow=True).find(name).applied == ""


def test_the_pictures_record_says_how_much_applied_and_else_is_what_it_was() -> None:
    whole = Provenance(Hashes("aa"), "bb", "host")
    part = Provenance(Hashes("aa"), "bb", "host", {}, {"part.safetensors": "1 of 2 layers"})
    place = a1111.Place(1, 1)
    assert "lora_applied" not in json.loads(record.write(REQUEST, whole, place))
    text = record.write(REQUEST, part, place)
    assert json.loads(text)["lora_applied"] == {"part.safetensors": "1 of 2 layers"}
    assert record.read(text).provenance == part
    assert record.read(record.write(REQUEST, whole, place)).provenance == whole


@pytest.mark.parametrize(("words", "allowed"), [((), False), (("--allow-partial",), True)])
def test_the_flag_of_run_is_the_setting(words: tuple[str, ...], allowed: bool) -> None:
    from core.run_command import load_settings

    assert load_settings(arguments.parse(["run", *words])).lora.allow_partial is allowed
