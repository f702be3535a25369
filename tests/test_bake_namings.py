"""That the spelling of a LoRA changes no byte of what is baked."""

from pathlib import Path

import pytest

from models import lora as models_lora
from quantize import lora_convert, lora_cut
from tests import bake_kit, lora_kit, model_files
from tests.bake_kit import NAMINGS, baked, named, pairs, tensors
from tests.model_files import TINY, flux_arrays


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "base.safetensors", flux_arrays(dtype="BF16"))


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return bake_kit.write(tmp_path / "lora.safetensors")


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_lora_gives_the_same_bytes_in_every_naming(
    tmp_path: Path, base: Path, lora: Path, naming: str
) -> None:
    other = model_files.write(tmp_path / "other.safetensors", named(naming, pairs()))
    proofs = baked(base, tmp_path / "a.gguf", lora)
    assert baked(base, tmp_path / "b.gguf", other) == proofs
    assert tensors(tmp_path / "a.gguf") == tensors(tmp_path / "b.gguf")


@pytest.mark.parametrize("name", lora_kit.NAMINGS)
def test_a_lora_of_any_naming_and_its_conversion_give_the_same_bytes(
    tmp_path: Path, base: Path, name: str
) -> None:
    naming = lora_kit.NAMINGS[name]
    # A scale of a half: converting multiplies it in without rounding.
    arrays = lora_kit.weights(naming, naming.stems(TINY), alpha=2.0, shape=TINY)
    lora = model_files.write(tmp_path / "lora.safetensors", arrays)
    other = tmp_path / "other.safetensors"
    lora_convert.convert(lora_cut.plan(models_lora.read(lora, TINY)), other)
    baked(base, tmp_path / "a.gguf", lora)
    baked(base, tmp_path / "b.gguf", other)
    assert tensors(tmp_path / "a.gguf") == tensors(tmp_path / "b.gguf")
