import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest

from core import arguments, quantize_command
from core.prepare import target_name
from models import gguf_file
from models.flux import tensor_shapes
from models.tensor_types import TensorType
from quantize import disk_speed, row_chunk, write_behind
from tests import model_files
from tests.model_files import flux_arrays, to_diffusers, write_shards


def run(*argv: str | Path) -> int:
    return quantize_command.run(arguments.parse(["quantize", *map(str, argv)]))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "in" / "flux-bf16.safetensors", flux_arrays(dtype="BF16"))


def test_a_dry_run_tells_the_exact_size_and_writes_nothing(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(source.parent.iterdir())
    assert run(source, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert sorted(source.parent.iterdir()) == before
    assert run(source, "--json") == 0
    target = source.with_name("flux-Q4_K_S.gguf")
    assert plan["target"] == str(target)
    assert plan["bytes"] == target.stat().st_size
    assert plan["saving"] == pytest.approx(1 - plan["bytes"] / plan["source_bytes"], abs=1e-4)
    made = gguf_file.read_header(target)
    assert plan["tensors"] == {tensor.name: tensor.type.name for tensor in made.tensors}
    assert sum(plan["types"].values()) == len(made.tensors)
    assert plan["seconds"] > 0
    assert plan["memory"] > 10e6
    assert plan["fits"] is True


def test_a_dry_run_in_words_has_the_same_numbers_even_where_the_target_exists(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source) == 0
    capsys.readouterr()
    assert run(source, source.with_name("flux-Q4_K_S.gguf"), "--dry-run", "--type", "Q8_0") == 0
    out = capsys.readouterr().out
    assert "Q8_0" in out
    assert "less than" in out
    assert "Nothing was written." in out


def test_own_types_and_the_order_are_handed_on(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.gguf"
    wishes = ("--tensor-type", "*.linear1.weight=Q8_0", "--tensor-type", "*.linear2.weight=Q6_K")
    assert run(source, target, "--sorted", *wishes) == 0
    made = gguf_file.read_header(target)
    assert made.tensor("single_blocks.0.linear1.weight").type is TensorType.Q8_0
    assert made.tensor("single_blocks.0.linear2.weight").type is TensorType.Q6_K
    assert list(made.shapes) == sorted(made.shapes)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("FLUX.1-dev", "FLUX.1-dev-Q4_K_S.gguf"),
        ("FLUX.1-dev/flux-fp16.safetensors.index.json", "FLUX.1-dev/flux-Q4_K_S.gguf"),
    ],
)
def test_a_folder_and_an_index_give_the_target_its_name(
    tmp_path: Path, name: str, target: str
) -> None:
    (tmp_path / "FLUX.1-dev").mkdir()
    write_shards(tmp_path / "FLUX.1-dev", "flux-fp16", to_diffusers(flux_arrays()), 2)
    assert run(tmp_path / name) == 0
    assert (tmp_path / target).is_file()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("flux1-dev.safetensors", "flux1-dev-Q8_0.gguf"),
        ("t5xxl_fp16.safetensors", "t5xxl-Q8_0.gguf"),
        ("t5xxl_fp8_e4m3fn_scaled.safetensors", "t5xxl-Q8_0.gguf"),
        ("flux1-dev-fp8.safetensors", "flux1-dev-Q8_0.gguf"),
        ("diffusion_pytorch_model-00002-of-00003.safetensors", "diffusion_pytorch_model-Q8_0.gguf"),
        ("model.fp16.safetensors.index.json", "model-Q8_0.gguf"),
        ("v1.5-mix.safetensors", "v1.5-mix-Q8_0.gguf"),
    ],
)
def test_the_target_is_named_after_the_source(name: str, target: str) -> None:
    assert target_name(Path("somewhere") / name, "Q8_0") == target


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays: dict[str, Any] = {f"model.diffusion_model.{n}": a for n, a in flux_arrays().items()}
    arrays["vae.bias"] = arrays["model.diffusion_model.img_in.bias"]
    source = model_files.write(tmp_path / "all.safetensors", arrays)
    assert run(source) == 0
    assert "1 tensors are left out: they are under another prefix" in capsys.readouterr().err


def test_a_slow_disk_is_told_with_its_speed(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_speed, "file_system", lambda path: "9p")
    assert run(source, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert len(notes) == 2
    assert "lies on 9p and reads at" in notes[0]
    assert "lies on 9p and takes" in notes[1]
    assert all("MB/s" in note for note in notes)


def test_pages_of_the_source_are_given_up_with_those_before_them(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folio across two chunks lies in neither; asked chunk by chunk, it would stay for ever."""
    ranges: list[tuple[int, int]] = []
    size, advise = source.stat().st_size, os.posix_fadvise

    def watching(fd: int, offset: int, count: int, advice: int) -> None:
        if os.fstat(fd).st_size == size:
            ranges.append((offset, offset + count))
        advise(fd, offset, count, advice)

    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 50_000)
    monkeypatch.setattr(row_chunk, "_FOLIOS", 4096)
    monkeypatch.setattr(os, "posix_fadvise", watching)
    assert run(source) == 0
    ranges.sort()
    assert ranges[-1][1] == size
    assert all(begin <= max(0, end - 4096) for (_, end), (begin, _) in pairwise(ranges))


def test_pages_of_the_target_are_given_up_window_by_window(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_behind, "WINDOW", 64 << 10)
    dropped: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def watching(fd: int, offset: int, count: int, advice: int) -> None:
        if os.fstat(fd).st_size == target_size and count == 64 << 10:
            dropped.append((offset, count))
        advise(fd, offset, count, advice)

    assert run(source) == 0
    target = source.with_name("flux-Q4_K_S.gguf")
    target_size, before = target.stat().st_size, target.read_bytes()
    monkeypatch.setattr(os, "posix_fadvise", watching)
    assert run(source, "--force") == 0
    windows = target_size // (64 << 10)
    assert dropped == [(number * (64 << 10), 64 << 10) for number in range(len(dropped))]
    assert windows - 3 <= len(dropped) <= windows
    assert target.read_bytes() == before


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    shape = replace(model_files.TINY, hidden=1536, heads=12, mlp=6144, single_blocks=4)
    source, size = tmp_path / "flux.safetensors", 0
    header: dict[str, Any] = {}
    for name, dims in tensor_shapes(shape).items():
        span = [size, size := size + 4 * prod(dims)]
        header[name] = {"dtype": "F32", "shape": dims, "data_offsets": span}
    text = json.dumps(header).encode()
    source.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(source, 8 + len(text) + size)
    director = Path(__file__).resolve().parents[1] / "core" / "director.py"
    command = [sys.executable, str(director), "quantize", str(source), "--type=Q4_0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["event"] == "progress"
        assert source.with_name("flux-Q4_0.gguf.part").exists()
        child.send_signal(how)
        assert child.wait(20) == 130
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
