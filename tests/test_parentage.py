from pathlib import Path

import pytest

from core import parentage
from models.tensor_types import FileType
from tests import model_files
from tests.convert_kit import convert_file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "a.safetensors", model_files.flux_arrays())


@pytest.mark.parametrize("file_type", [FileType.Q4_K_S, FileType.Q8_0, FileType.F16])
def test_a_gguf_is_of_the_source_it_was_made_of_and_of_no_other(
    tmp_path: Path, source: Path, file_type: FileType
) -> None:
    gguf = tmp_path / "a.gguf"
    convert_file(source, gguf, file_type)
    assert parentage.made_of(gguf, source)
    retrained = model_files.flux_arrays(seed=1)
    assert not parentage.made_of(gguf, model_files.write(tmp_path / "b.safetensors", retrained))


def test_one_weight_of_another_value_is_another_source(tmp_path: Path, source: Path) -> None:
    gguf = tmp_path / "a.gguf"
    convert_file(source, gguf)
    arrays = model_files.flux_arrays()
    arrays["final_layer.linear.weight"][-1, -1] += 1
    assert not parentage.made_of(gguf, model_files.write(tmp_path / "b.safetensors", arrays))


def test_another_model_is_another_source(tmp_path: Path, source: Path) -> None:
    gguf = tmp_path / "a.gguf"
    convert_file(source, gguf)
    arrays = model_files.flux_arrays()
    del arrays["img_in.bias"]
    assert not parentage.made_of(gguf, model_files.write(tmp_path / "b.safetensors", arrays))


def test_a_damaged_gguf_is_of_no_source(tmp_path: Path, source: Path) -> None:
    gguf = tmp_path / "a.gguf"
    convert_file(source, gguf)
    whole = gguf.read_bytes()
    for content in (b"", b"GGUF", whole[:-1], whole[: len(whole) // 2]):
        gguf.write_bytes(content)
        assert not parentage.made_of(gguf, source)
