"""The comparison as a user starts it: on tiny weights, and once with the micro Flux drawing."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from core import arguments, report_command
from core.prepare import PrepareError
from models import gguf_file
from models.errors import ModelError
from models.micro import micro_set, spec
from models.tensor_types import FileType
from quantize import bake_plan, requantised
from quantize.lora_delta import Choice
from tests import bake_kit, model_files
from tests.convert_kit import convert_file
from tests.model_files import flux_arrays
from tests.test_report_page import Page

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "base-bf16.safetensors", flux_arrays(dtype="BF16"))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return bake_kit.write(tmp_path / "lora.safetensors")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(*argv: str | Path) -> int:
    return report_command.run(arguments.parse(["report", *map(str, argv)]))


def test_weights_alone_of_any_model_give_a_page_and_leave_nothing(
    base: Path, lora: Path, scratch: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page" / "report.html"
    assert run("--unet", base, "--lora", f"{lora}:0.9", "--weights-only", "--out", out) == 0
    page = Page(out.read_text())
    assert page.is_self_contained()
    assert "strength 0.9" in " ".join(page.words)
    assert any("Requantised" in word for word in page.words)
    assert list(scratch.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {base.name, lora.name, "page", "scratch"}


def test_files_in_a_folder_of_ones_own_are_made_once(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    work, out = tmp_path / "work", tmp_path / "r.html"
    wanted = ("--unet", base, "--lora", lora, "--weights-only", "--work", work, "--out", out)
    run(*wanted)
    before = {path.name: path.stat().st_ino for path in work.iterdir()}
    assert len(before) == 2
    first = out.read_bytes()
    run(*wanted)
    assert {path.name: path.stat().st_ino for path in work.iterdir()} == before
    assert out.read_bytes() == first
    run(*wanted[:3], f"{lora}:0.5", *wanted[4:])
    assert len(list(work.iterdir())) == 3


def test_what_cannot_be_used_writes_no_page(base: Path, tmp_path: Path, scratch: Path) -> None:
    out = tmp_path / "r.html"
    garbage = tmp_path / "x.safetensors"
    garbage.write_bytes(b"garbage")
    prompts = tmp_path / "p.yaml"
    prompts.write_text("prompt: [")
    with pytest.raises(ModelError):
        run("--unet", garbage, "--weights-only", "--out", out)
    with pytest.raises(ModelError):
        run("--unet", base, "--lora", garbage, "--weights-only", "--out", out)
    with pytest.raises(PrepareError, match=r"p\.yaml"):
        run("--prompts", prompts, "--out", out)
    with pytest.raises(PrepareError, match="--prompts FILE, or --weights-only"):
        run("--unet", base, "--out", out)
    assert not out.exists()
    assert list(scratch.iterdir()) == []


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Settings of a user with a model and companions of their own, the micro set's."""
    models = tmp_path / "models"
    shutil.copytree(micro_set.SHIPPED, models)
    file = tmp_path / "own.toml"
    file.write_text(
        f"""
        [folders]
        models = "{models}"
        [model]
        source = "{models / "unet" / spec.UNET_FILE}"
        text_encoders = ["{spec.CLIP_FILE}", "{spec.T5_FILE}"]
        vae = "{spec.VAE_FILE}"
        """
    )
    return file


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("prompt: a cat\ngrid: {lora: [style]}", "named with --lora"),
        ("prompt: a __no-such-list__", "wildcard"),
        ("prompt: a cat\nimage: x.png", "from text only"),
    ],
)
def test_prompts_that_cannot_be_drawn_are_told_before_a_file_is_made(
    own: Path, tmp_path: Path, prompt: str, told: str
) -> None:
    prompts, work, out = tmp_path / "p.yaml", tmp_path / "work", tmp_path / "r.html"
    prompts.write_text(prompt)
    unet = tmp_path / "models" / "unet" / spec.UNET_FILE
    with pytest.raises(PrepareError, match=told):
        run("--unet", unet, "--prompts", prompts, "--config", own, "--work", work, "--out", out)
    assert list(work.iterdir()) == []


def test_a_companion_that_is_not_there_is_told_before_a_file_is_made(
    own: Path, tmp_path: Path
) -> None:
    prompts, work, out = tmp_path / "p.txt", tmp_path / "work", tmp_path / "r.html"
    prompts.write_text("a cat")
    (tmp_path / "models" / "vae" / spec.VAE_FILE).unlink()
    unet = tmp_path / "models" / "unet" / spec.UNET_FILE
    with pytest.raises(ModelError, match=spec.VAE_FILE):
        run("--unet", unet, "--prompts", prompts, "--config", own, "--work", work, "--out", out)
    assert list(work.iterdir()) == []


def test_a_model_of_ones_own_draws_with_the_companions_of_the_settings(
    own: Path, tmp_path: Path, scratch: Path
) -> None:
    prompts, out = tmp_path / "p.yaml", tmp_path / "r.html"
    prompts.write_text("prompt: a large red circle\nsteps: 2\nwidth: 64\nheight: 64")
    unet = tmp_path / "models" / "unet" / spec.UNET_FILE
    assert run("--unet", unet, "--prompts", prompts, "--config", own, "--out", out) == 0
    page = Page(out.read_text())
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2  # FP16 and quantised: no LoRA
    assert list(scratch.iterdir()) == []


def test_a_lora_added_to_quantised_weights_is_mostly_lost(tmp_path: Path, base: Path) -> None:
    small = bake_kit.write(tmp_path / "small.safetensors", size=0.00002)
    target = tmp_path / "q.gguf"
    convert_file(base, target)
    plan = bake_plan.make(base, tmp_path / "x.gguf", FileType.Q4_K_S, [Choice(small)])
    left = dict(requantised.kept(gguf_file.read_header(target), plan.mix))
    packed = [share for name, share in left.items() if "_in" not in name]
    assert packed
    assert max(packed) < 0.5


def test_the_micro_flux_draws_every_way(tmp_path: Path, scratch: Path) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "r.html"
    prompts.write_text("a large vulcan on a white background\n")
    run("--prompts", prompts, "--seeds", "1", "--out", out)
    page = Page(out.read_text())
    assert page.is_self_contained()
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 5
    assert page.words.count("1 of 1") == 3  # both ways with the LoRA at runtime, and baked
    assert page.words.count("0 of 1") == 2
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "r.html"
    scratch.mkdir()
    argv = [sys.executable, str(ROOT / "core" / "director.py"), "report", "--out", str(out)]
    with subprocess.Popen(
        argv, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True
    ) as child:
        deadline = time.monotonic() + 60
        while not list(scratch.glob("vulcan-easel-*/host")) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(how)
        assert child.wait(30) == 130
        assert child.stderr is not None
        assert "Traceback" not in child.stderr.read()
    assert not out.exists()
    assert [path.name for path in scratch.iterdir() if path.name.startswith("vulcan-")] == []
