import json
import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core import arguments, verify_command
from models import gguf_file
from models.errors import ModelError
from models.tensor_types import FileType, TensorType
from quantize import convert, error_plot, row_chunk, structure, verify
from quantize.errors import QuantizeError
from tests import model_files, test_t5
from tests.model_files import flux_arrays, to_diffusers

QKV = "double_blocks.0.img_attn.qkv.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "flux.safetensors", flux_arrays())


@pytest.fixture
def made(source: Path) -> Path:
    target = source.with_suffix(".gguf")
    list(convert.run(convert.plan(source, target, FileType.Q4_K_S), workers=2))
    return target


def compared(made: Path, source: Path, **options: Any) -> dict[str, verify.TensorError]:
    header = gguf_file.read_header(made)
    return {one.name: one for one in verify.compare(header, source, **{"workers": 2} | options)}


def unpacked(made: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor as numbers, by the gguf package alone."""
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype("f4")
        for t in gguf.GGUFReader(made).tensors
    }


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("diffusers", [False, True])
def test_the_error_is_the_relative_distance_to_the_source(
    made: Path, diffusers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 10_000)
    arrays = flux_arrays()
    against = made.with_name("other.safetensors")
    model_files.write(against, to_diffusers(arrays) if diffusers else arrays)
    errors = compared(made, against)
    for name, numbers in unpacked(made).items():
        truth = arrays[name].astype("f8")
        expected = np.linalg.norm(numbers - truth) / np.linalg.norm(truth)
        assert errors[name].error == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert errors[name].weights == truth.size
    assert 0.05 < errors[QKV].error < 0.1
    assert errors["txt_in.weight"].error == 0


def test_an_f32_source_is_compared_itself_not_its_rounding(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "f32.safetensors", flux_arrays(dtype="F32"))
    target = tmp_path / "x.gguf"
    list(convert.run(convert.plan(source, target, FileType.F16), workers=2))
    assert 1e-5 < compared(target, source)[QKV].error < 1e-3


def test_the_worst_come_first_and_the_whole_is_weighed_by_size(made: Path, source: Path) -> None:
    errors = list(compared(made, source).values())
    worst = verify.worst(errors, 3)
    assert worst[0].error == max(one.error for one in errors) >= worst[1].error >= worst[2].error
    numbers, arrays = unpacked(made), flux_arrays()
    distance = sum(float(((numbers[n] - a.astype("f8")) ** 2).sum()) for n, a in arrays.items())
    length = sum(float((a.astype("f8") ** 2).sum()) for a in arrays.values())
    assert verify.overall(errors) == pytest.approx((distance / length) ** 0.5, rel=1e-5)


def test_a_sample_reads_some_of_each_tensor(
    made: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 10_000)
    whole, some = compared(made, source), compared(made, source, sample=0.25)
    assert list(whole) == list(some)
    assert some[QKV].weights < 0.4 * whole[QKV].weights
    assert some[QKV].error == pytest.approx(whole[QKV].error, rel=0.1)


def test_other_weights_are_noticed(made: Path, tmp_path: Path) -> None:
    other = model_files.write(tmp_path / "other.safetensors", flux_arrays(seed=1))
    assert all(
        one.error > verify.OTHER_WEIGHTS
        for one in compared(made, other).values()
        if one.name.endswith("weight")
    )


def test_a_source_of_another_shape_is_refused(made: Path, tmp_path: Path) -> None:
    t5 = model_files.write(tmp_path / "t5.safetensors", test_t5.arrays())
    with pytest.raises(QuantizeError, match="have different tensors"):
        compared(made, t5)


def test_a_zero_tensor_that_is_not_zero_any_more_is_infinitely_wrong() -> None:
    kind = TensorType.Q4_K
    assert verify.TensorError("x", kind, 1, 0.0, 1.0).error == float("inf")
    assert verify.TensorError("x", kind, 1, 0.0, 0.0).error == 0


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_a_block_that_is_no_number_is_infinitely_wrong(
    made: Path, source: Path, scale: float, capsys: pytest.CaptureFixture[str]
) -> None:
    place = gguf_file.read_header(made).tensor(QKV).offset
    content = bytearray(made.read_bytes())
    content[place : place + 2] = np.float16(scale).tobytes()  # a block's `d`
    made.write_bytes(content)
    assert compared(made, source)[QKV].error == float("inf")
    assert run(made, "--against", source, "--json") == 1
    found = json.loads(capsys.readouterr().out.splitlines()[1])
    assert found["overall"] is found["tensors"][QKV]["error"] is None
    assert found["worst"][0] == QKV


# --- structure ------------------------------------------------------------------------------------


def rewritten(made: Path, **metadata: Any) -> Path:
    """The same tensors, written anew by the gguf package with other metadata."""
    reader = gguf.GGUFReader(made)
    path = made.with_name("rewritten.gguf")
    writer = gguf.GGUFWriter(path, metadata.pop("arch", "flux"))
    writer.add_quantization_version(metadata.pop("version", 2))
    writer.add_file_type(metadata.pop("file_type", 14))
    drop, extra = metadata.pop("drop", ""), metadata.pop("extra", "")
    for tensor in reader.tensors:
        if tensor.name != drop:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    if extra:
        writer.add_tensor(extra, np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_what_the_quantiser_makes_is_sound(made: Path) -> None:
    found = structure.check(made)
    assert found.problems == ()
    assert found.architecture == "flux"
    assert sum(found.types.values()) == len(flux_arrays())


def test_what_the_gguf_package_writes_is_sound(made: Path) -> None:
    assert structure.check(rewritten(made)).problems == ()


def test_a_t5_is_sound_and_one_without_a_tensor_is_not(tmp_path: Path) -> None:
    source = model_files.write(tmp_path / "t5.safetensors", test_t5.arrays())
    test_t5.made(source, tmp_path / "t5.gguf")
    assert structure.check(tmp_path / "t5.gguf").problems == ()
    short = rewritten(tmp_path / "t5.gguf", arch="t5encoder", drop="enc.blk.3.ffn_up.weight")
    assert "not complete" in " ".join(structure.check(short).problems)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"arch": "llama"}, "the architecture is 'llama'"),
        ({"version": 1}, "general.quantization_version is 1, not 2"),
        ({"file_type": 99}, "general.file_type is 99"),
        ({"drop": QKV}, f"missing or of the wrong shape: {QKV}"),
        ({"extra": "vae.bias"}, "vae.bias is no tensor of a FLUX.1"),
        ({"extra": "x" * 64}, "is longer than the 63 bytes"),
    ],
)
def test_each_flaw_is_named(made: Path, change: dict[str, Any], why: str) -> None:
    assert why in " ".join(structure.check(rewritten(made, **change)).problems)


def test_bytes_behind_the_end_and_missing_ones_are_named(made: Path) -> None:
    size = made.stat().st_size
    os.truncate(made, size + 3)
    assert structure.check(made).problems == ("3 bytes lie behind the last tensor",)
    os.truncate(made, size - 100_000)
    assert "truncated" in structure.check(made).problems[0]


def test_a_gap_between_tensors_is_named(made: Path) -> None:
    content = bytearray(made.read_bytes())
    last = gguf_file.read_header(made).tensors[-1]
    first = gguf_file.read_header(made).tensors[0].offset
    place = content.index((last.offset - first).to_bytes(8, "little"))
    content[place : place + 8] = (last.offset - first + 64).to_bytes(8, "little")
    made.write_bytes(content + bytes(64))
    assert f"{last.name} begins at" in " ".join(structure.check(made).problems)


# --- the command and its picture ------------------------------------------------------------------


def run(*argv: str | Path) -> int:
    return verify_command.run(arguments.parse(["verify", *map(str, argv)]))


def test_the_command_says_what_it_found(
    made: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made) == 0
    assert "The file is sound." in capsys.readouterr().out
    assert run(made, "--against", source) == 0
    out = capsys.readouterr().out
    assert out.count("Q4_K ") >= 10
    assert f"{made}.png" in out
    with Image.open(f"{made}.png") as picture:
        assert picture.size == (error_plot.WIDTH, error_plot.HEIGHT)
        assert len(picture.getcolors(1 << 20) or ()) > 20


def test_the_command_fails_for_a_file_that_is_not_sound_and_for_other_weights(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = model_files.write(tmp_path / "other.safetensors", flux_arrays(seed=1))
    assert run(made, "--against", other) == 1
    assert "NOT THE SOURCE'S WEIGHTS" in capsys.readouterr().out
    os.truncate(made, 1000)
    assert run(made) == 1
    assert "The file is not sound." in capsys.readouterr().out


def test_json_is_one_object_a_line(
    made: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.png"
    assert run(made, "--against", source, "--json", "--report", report, "--sample", "0.5") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["sound"] is True
    assert first["types"]["Q4_K"] == 13
    assert second["tensors"][QKV]["type"] == "Q4_K"
    assert second["worst"][0] in second["tensors"]
    assert second["same"] is True
    assert report.is_file()


def test_a_missing_source_is_a_model_error(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        run(made, "--against", tmp_path / "nothing.safetensors")


def test_a_file_without_packed_tensors_can_be_drawn(tmp_path: Path) -> None:
    error_plot.draw(tmp_path / "x.png", "title", "subtitle", [])
    assert (tmp_path / "x.png").stat().st_size > 1000
