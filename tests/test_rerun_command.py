"""``rerun`` as a user types it: the real director, the real embedded host, the micro models."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import png_text
from models.micro import micro_set

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]
PROMPT = "width: 64\nheight: 64\nsteps: 2\nseed: 5\nprompt: a large vulcan, at \u4e2d\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def director(tmp_path: Path) -> Run:
    """Return a function that runs a command of the director in folders of this test."""
    folders = [f"--{name}={tmp_path / name}" for name in ("inbox", "outbox", "models")]
    environ = {**os.environ, "VULCAN_STATE": str(tmp_path / "state")}

    def run(command: str, *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*DIRECTOR, command, "--host=embedded", *folders, *more],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def compared(result: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert "Traceback" not in result.stderr
    entry = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(entry, dict)
    return entry


def drawn(path: Path) -> list[tuple[bytes, bytes]]:
    return [c for c in png_text.chunks(path.read_bytes()) if c[0] not in png_text.TEXT_KINDS]


def other_weights(path: Path) -> None:
    """Turn the sign of every second half of a LoRA's weights (the sign bit is in the high byte)."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start + 1, len(content), 4):
        content[place] ^= 0x80
    path.write_bytes(content)


@pytest.mark.timeout(300)  # three directors, each with a host that loads torch
def test_a_picture_comes_out_identical_until_its_lora_is_another(
    tmp_path: Path, director: Run
) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "fox.yaml").write_text(PROMPT + "lora: mine\n", encoding="utf-8")
    own = tmp_path / "models" / "loras" / "mine.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(micro_set.place(micro_set.SHIPPED).lora.read_bytes())
    made = director("run", "--once")
    assert made.returncode == 0, made.stderr
    (first,) = (tmp_path / "outbox").glob("*.png")

    again = director("rerun", "--json", "--out=copies", str(first))
    entry = compared(again)
    assert again.returncode == 0, again.stderr
    assert entry["identical"]
    assert Path(entry["picture"]).parent == tmp_path / "copies"
    assert drawn(Path(entry["picture"])) == drawn(first)

    other_weights(own)
    refused = director("rerun", str(first))
    assert refused.returncode == 1
    assert "lora mine.safetensors differs" in refused.stderr
    assert "--anyway" in refused.stderr

    differing = director("rerun", "--json", "--anyway", str(first))
    entry = compared(differing)
    assert differing.returncode == 1
    assert not entry["identical"]
    assert 0 < entry["share_of_pixels"] <= 1
    assert entry["likely_cause"] == "lora mine.safetensors"


def test_what_cannot_be_made_again_is_said_and_nothing_is_asked_for(
    tmp_path: Path, director: Run
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    result = director("rerun", str(tmp_path / "notes.txt"), str(tmp_path / "missing.png"))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "notes.json" in result.stderr
    assert "no such file" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
