import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from models import flux
from models.errors import ModelError
from models.tensor_types import FileType
from quantize import convert, row_chunk
from quantize.errors import Problem, QuantizeError
from tests import model_files
from tests.convert_kit import convert_file, left_beside
from tests.model_files import TINY, Array, flux_arrays

QKV = "double_blocks.0.img_attn.qkv.weight"
KEPT = "txt_in.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "flux.safetensors", flux_arrays())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "flux-Q4_K_S.gguf"


def diffusers_arrays() -> dict[str, Array]:
    return {name: np.zeros((4, 4), "f2") for name in flux.diffusers_pieces(TINY)}


def without(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    return {other: array for other, array in arrays.items() if other != name}


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        (diffusers_arrays(), "not those of a FLUX.1 model"),
        ({"conv_in.weight": np.zeros((4, 4), "f2")}, "not those of a FLUX.1 model"),
        ({}, "not those of a FLUX.1 model"),
        (without(flux_arrays(), QKV), f"not complete: missing or of the wrong shape: {QKV}"),
        (flux_arrays() | {"scaled_fp8": np.zeros(2, "f2")}, "no rule for scaled_fp8"),
    ],
    ids=["diffusers", "other", "empty", "incomplete", "stranger"],
)
def test_a_source_that_is_no_reference_flux_is_refused(
    tmp_path: Path, target: Path, arrays: dict[str, Array], why: str
) -> None:
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises((QuantizeError, ModelError)) as caught:
        convert.plan(source, target, FileType.Q4_K_S)
    error = caught.value
    assert isinstance(error, QuantizeError | ModelError)
    assert why in str(error)
    assert error.path == source
    assert error.fix
    assert not target.parent.exists()


def test_truncated_foreign_and_missing_sources_are_model_errors(
    tmp_path: Path, source: Path, target: Path
) -> None:
    os.truncate(source, source.stat().st_size - 1)
    with pytest.raises(ModelError, match="truncated"):
        convert.plan(source, target, FileType.Q4_K_S)
    source.write_bytes(os.urandom(1000))
    with pytest.raises(ModelError, match="no safetensors file"):
        convert.plan(source, target, FileType.Q4_K_S)
    with pytest.raises(ModelError, match="cannot be read"):
        convert.plan(tmp_path / "nothing.safetensors", target, FileType.Q4_K_S)
    with pytest.raises(ModelError, match="no safetensors file"):
        convert.plan(tmp_path, target, FileType.Q4_K_S)


def test_a_gguf_as_source_is_told_as_such(source: Path, target: Path) -> None:
    convert_file(source, target)
    with pytest.raises(ModelError, match="it is a GGUF file"):
        convert.plan(target, target.with_name("again.gguf"), FileType.Q4_K_S)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("name", [QKV, KEPT])
def test_the_first_bad_weight_is_named_and_nothing_is_left(
    tmp_path: Path, target: Path, dtype: str, value: float, name: str
) -> None:
    arrays = flux_arrays(dtype=dtype)
    bits = np.array(value, np.float32)
    bad = model_files.to_bf16(bits[None])[0] if dtype == "BF16" else bits.astype(arrays[name].dtype)
    arrays[name][200, 7] = arrays[name][201, 3] = bad
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(QuantizeError) as caught:
        convert_file(source, target)
    assert caught.value.kind is Problem.BAD_WEIGHT
    assert f"{name} holds {'NaN' if np.isnan(value) else 'infinity'}" in str(caught.value)
    assert "at [200, 7]" in str(caught.value)
    assert left_beside(target) == []


def test_a_bad_weight_in_a_later_chunk_has_its_place_in_the_tensor(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_chunk, "CHUNK_WEIGHTS", 10_000)
    arrays = flux_arrays()
    arrays[QKV][700, 250] = np.nan
    arrays["single_blocks.0.modulation.lin.bias"][5] = np.nan  # later in the file
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(QuantizeError, match=rf"{QKV} holds NaN at \[700, 250\]"):
        convert_file(source, target, workers=3)


def test_an_f32_weight_beyond_f16_is_told(tmp_path: Path, target: Path) -> None:
    arrays = flux_arrays(dtype="F32")
    arrays[QKV][1, 2] = 1e6
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(QuantizeError, match=r"holds a weight beyond F16's range at \[1, 2\]"):
        convert_file(source, target)


def test_a_weight_too_large_for_a_blocks_scale_is_told(
    tmp_path: Path, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arrays = flux_arrays(dtype="BF16")
    arrays[QKV][1, 2] = model_files.to_bf16(np.array([1e12], np.float32))[0]
    source = model_files.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(QuantizeError, match=r"too large for Q4_K, at \[1, 2\]"):
        convert_file(source, target)
    assert left_beside(target) == []
    capfd.readouterr()  # ggml says so too, on stderr
