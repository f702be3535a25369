from pathlib import Path

import pytest

from models import gguf_file, gguf_layout, lora, pairing
from models.errors import ModelError
from models.flux import FluxShape, tensor_shapes
from models.gguf_file import GgufFile
from models.lora import LoraFile
from models.pairing import LoraUse, Pair, PairingError
from models.tensor_types import FileType, TensorType
from tests import model_files, random_lora
from tests.model_files import TINY

PAIR = Pair(
    name="demo",
    unet="flux-Q4_K_S.gguf",
    unet_sha256="ab" * 32,
    text_encoders=("clip_l.safetensors", "t5.safetensors"),
    vae="ae.safetensors",
    loras=(LoraUse("forge.safetensors", 0.8, "cd" * 32, ("vulcan",)),),
)


def unet(path: Path, shape: FluxShape) -> GgufFile:
    """A GGUF with a true header and no weights."""
    tensors = [(name, size, TensorType.F32) for name, size in tensor_shapes(shape).items()]
    made = gguf_layout.layout("flux", FileType.F16, tensors)
    with path.open("wb") as file:
        file.write(made.header)
        file.truncate(made.total_bytes)
    return gguf_file.read_header(path)


def micro(path: Path, base: FluxShape = TINY) -> LoraFile:
    """A LoRA made for TINY, read as one for `base`."""
    return lora.read(model_files.write(path, random_lora.weights(TINY)), base)


def test_a_lora_fits_the_model_it_was_made_for(tmp_path: Path) -> None:
    pairing.check(unet(tmp_path / "x.gguf", TINY), micro(tmp_path / "l.safetensors"))


def test_a_lora_for_a_wider_model_is_refused_with_every_reason(tmp_path: Path) -> None:
    wide = FluxShape(512, 4, 1, 1, 64, 256, 256, 1024, guidance=True)
    read = micro(tmp_path / "l.safetensors", wide)
    with pytest.raises(PairingError) as caught:
        pairing.check(unet(tmp_path / "wide.gguf", wide), read)
    assert len(caught.value.problems) == 2 * len(read.layers)
    text = str(caught.value)
    assert "does not fit the model wide.gguf" in text
    assert "but the model needs (8, 512)" in text
    assert text.count("but the model needs") == 3
    assert f"and {2 * len(read.layers) - 3} more" in text
    assert isinstance(caught.value, ModelError)


def test_a_manifest_survives_the_way_through_json() -> None:
    assert pairing.from_json(pairing.to_json(PAIR)) == PAIR


@pytest.mark.parametrize("text", ["", "[]", "{}", pairing.to_json(PAIR).replace("0.8", '"much"')])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"manifest is not readable: .+ Delete it and make"):
        pairing.from_json(text)
