import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import arguments, bake_command
from core.bake_command import LoraWish, default_target
from models.errors import ModelError
from models.tensor_types import FileType
from quantize import bake_record, lora_delta
from quantize.errors import Problem, QuantizeError
from tests import bake_kit, model_files
from tests.model_files import flux_arrays

ROOT = Path(__file__).resolve().parents[1]
TRAINED = ROOT / "models" / "micro" / "trained"
NAME = "base-lora-Q4_K_S.gguf"


def run(*argv: str | Path) -> int:
    return bake_command.run(arguments.parse(["bake", *map(str, argv)]))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "base-bf16.safetensors", flux_arrays(dtype="BF16"))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return bake_kit.write(tmp_path / "lora.safetensors")


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def told(*argv: str | Path, code: int = 0) -> str:
    """What the director says, as a user starts it."""
    command = [sys.executable, str(ROOT / "core" / "director.py"), *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_micro_flux_and_its_lora_become_one_file(tmp_path: Path) -> None:
    unet, lora = (next((TRAINED / kind).glob("*.safetensors")) for kind in ("unet", "loras"))
    out = tmp_path / "micro.gguf"
    picture, report = tmp_path / "x.png", tmp_path / "x.json"
    wishes = ("--lora", f"{lora}:0.9", "--out", out, "--plot", picture, "--report", report)
    text = told("bake", unet, *wishes)
    assert "14 layers changed; 99." in text
    assert "_blocks.0." in text
    found = json.loads(report.read_text())
    assert found["file"] == "micro.gguf"
    assert len(found["layers"]) == found["changed"] == 14
    assert all(layer["kept"] > 0.97 for layer in found["layers"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_content_is_made_once(
    base: Path, lora: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(base, "--lora", lora, "--json") == 0
    target = base.with_name(NAME)
    before = target.stat()
    first = events(capsys)[-1]
    assert first["event"] == "done"
    again = lora.with_name("lora.copy.safetensors")
    again.write_bytes(lora.read_bytes())
    report = tmp_path / "r.json"
    wanted = (base, "--lora", again, "--out", target, "--json", "--report", report)
    assert run(*wanted) == 0
    (second,) = events(capsys)
    assert second["event"] == "kept"
    assert second["lowest_kept"] == pytest.approx(first["lowest_kept"], abs=1e-4)
    assert json.loads(report.read_text())["changed"] == second["changed"]
    assert (target.stat().st_mtime_ns, target.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert run(base, "--lora", lora, "--force") == 0
    assert target.stat().st_ino != before.st_ino


def test_another_content_under_the_name_is_kept_unless_forced(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    target = tmp_path / "x.gguf"
    target.write_bytes(b"mine")
    with pytest.raises(QuantizeError, match=r"it was not baked here\. Use --force") as caught:
        run(base, "--lora", lora, "--out", target)
    assert caught.value.kind is Problem.TARGET_EXISTS
    assert target.read_bytes() == b"mine"
    assert run(base, "--lora", lora, "--out", target, "--force") == 0
    with pytest.raises(QuantizeError, match="baked from something else"):
        run(base, "--lora", f"{lora}:0.5", "--out", target)


def test_a_lora_that_does_not_fit_makes_nothing(base: Path, tmp_path: Path) -> None:
    arrays = bake_kit.named("peft", bake_kit.pairs())
    arrays["transformer.transformer_blocks.3.attn.to_q.lora_B.weight"] = arrays.popitem()[1]
    lora = model_files.write(tmp_path / "l.safetensors", arrays)
    with pytest.raises(ModelError):
        run(base, "--lora", lora)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".safetensors"] * 2


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04pickle", b"\0" * 100])
def test_what_is_no_lora_is_told(base: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "l.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        run(base, "--lora", path)
    assert caught.value.path == path


def test_the_command_line_tells_an_error_in_a_sentence(base: Path, tmp_path: Path) -> None:
    text = told("bake", base, "--lora", tmp_path / "missing.safetensors", code=1)
    assert text.startswith("director: ")
    assert "missing.safetensors" in text


def test_a_name_tells_what_is_inside(tmp_path: Path) -> None:
    base, one, two = tmp_path / "flux1-dev-fp16.safetensors", Path("x/a.safetensors"), Path("b.s")
    wishes = [LoraWish(one, 1.0), LoraWish(two, -0.25)]
    assert default_target(base, wishes, FileType.Q5_K_M).name == "flux1-dev-a-b--0.25-Q5_K_M.gguf"
    long = [LoraWish(Path("ä" * 80 + ".safetensors"), 1.0)] * 3
    assert len(os.fsencode(default_target(base, long, FileType.Q4_K_S).name)) < 250


def test_keys_of_text_encoders_are_told(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = bake_kit.named("kohya", bake_kit.pairs())
    arrays["lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"] = arrays[next(iter(arrays))]
    lora = model_files.write(tmp_path / "l.safetensors", arrays)
    assert run(base, "--lora", lora, "--json") == 0
    (note,) = [event for event in events(capsys) if event["event"] == "note"]
    assert "1 keys of l.safetensors change a text encoder" in str(note["text"])


CHILD = """
import os, sys
from core import director
from quantize import baked_chunk
own, count = baked_chunk.ChunkBaker.bake, [0]
def bake(self, *arguments):
    count[0] += 1
    if count[0] == 3:
        print("in the middle", flush=True)
        sys.stdin.read()
    return own(self, *arguments)
baked_chunk.ChunkBaker.bake = bake
sys.exit(director.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_bake_leaves_no_target_and_the_next_one_cleans_up(
    base: Path, lora: Path, how: signal.Signals
) -> None:
    argv = [sys.executable, "-c", CHILD, "bake", str(base), "--lora", str(lora), "--json"]
    with subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert any("in the middle" in line for line in child.stdout)
        child.send_signal(how)
        time.sleep(0.1)
        if child.stdin is not None:
            child.stdin.close()
        child.wait()
    left = {path.name for path in base.parent.iterdir()} - {base.name, lora.name}
    assert left == ({f"{NAME}.part"} if how is signal.SIGKILL else set())
    assert run(base, "--lora", lora) == 0
    left = {path.name for path in base.parent.iterdir()} - {base.name, lora.name}
    assert left == {NAME}


def test_a_disk_that_fills_up_meanwhile_is_told(
    base: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, count = os.pwrite, [0]

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        count[0] += 1
        if count[0] > 20:
            raise OSError(28, "No space left on device")
        return own(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(QuantizeError, match="No space left") as caught:
        run(base, "--lora", lora)
    assert caught.value.kind is Problem.DISK
    assert not list(base.parent.glob("*.gguf*"))


def test_a_file_of_another_making_says_nothing_of_itself(tmp_path: Path, base: Path) -> None:
    assert bake_record.read(base) is None
    assert bake_record.read(tmp_path / "missing") is None


def test_weights_are_read_when_they_are_needed_only(
    base: Path, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rerun reads the LoRA once, to check and to hash it."""
    run(base, "--lora", lora)
    calls: list[str] = []
    monkeypatch.setattr(lora_delta.LoraMix, "pieces", lambda self, name: calls.append(name))
    assert run(base, "--lora", lora) == 0
    assert calls == []
