"""The whole way with nothing that pretends: photos, the real trainer, the micro Flux, a sheet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import original, pixel_difference
from models import safetensors_file
from tests.train_kit import pictures

DIRECTOR = [sys.executable, str(Path(__file__).resolve().parents[1] / "core" / "director.py")]
SHORT = (
    *("steps=6", "batch=1", "learning_rate=0.02", "warmup=0"),
    *("prior=0", "prior_share=0", "sample_every=0", "samples=0"),
)


@pytest.mark.timeout(400)  # four stages that load torch each, and a host
def test_photos_become_a_lora_that_the_director_draws_with(tmp_path: Path) -> None:
    pictures(tmp_path / "photos")
    folders = [f"--{name}={tmp_path / name}" for name in ("inbox", "outbox", "models")]
    asked = ["photos", "--name=ohwx", "--type=concept", *(f"--set={one}" for one in SHORT)]
    done = subprocess.run(
        [*DIRECTOR, "train", *asked, "--host=embedded", *folders],
        cwd=tmp_path,
        env={**os.environ, "VULCAN_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Use it: `pair: ohwx`" in done.stdout
    (lora,) = (tmp_path / "state" / "trainings").glob("ohwx-*/lora/ohwx.safetensors")
    metadata = safetensors_file.read_header(lora).metadata
    (base,) = (tmp_path / "models" / "unet").glob("*.gguf")
    pair = json.loads((tmp_path / "models" / "pairs" / "ohwx.json").read_text())
    assert metadata["vulcan.base_sha256"] == pair["unet_sha256"]
    assert pair["unet"] == base.name
    pictures_made = sorted((tmp_path / "outbox").glob("*_00?.png"))
    assert len(pictures_made) == 9
    drawn = [original.load(path) for path in pictures_made]
    strengths = [one.strength for picture in drawn for one in picture.record.request.loras]
    assert strengths == [0.0, 0.5, 1.0] * 3
    off, full = drawn[0].content, drawn[2].content
    assert not pixel_difference.compare(off, full).identical, "it changes what is drawn"
