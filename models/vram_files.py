"""From model files to what ComfyUI will load: headers are read, no weights.

Where a file is not at hand, FLUX.1-dev's and T5-XXL's known shapes stand in for it. Which types a
recipe gives them is the caller's.
"""

from math import prod
from pathlib import Path

from models import flux, gguf_file, safetensors_file, t5, vram_companions, vram_modules
from models.errors import ModelError
from models.flux import FluxShape
from models.vram_modules import Module, Weights

GGUF = ".gguf"


def unet(path: Path) -> tuple[FluxShape, Weights]:
    """Sizes and modules of a FLUX.1, in a GGUF or in one safetensors file.

    Raises:
        ModelError: it cannot be read, or is no FLUX.1.
    """
    if path.suffix.lower() == GGUF:
        return vram_modules.unet_of(gguf_file.read_header(path))
    header = safetensors_file.read_header(path)
    shapes = header.shapes
    names = flux.reference_names(shapes)
    try:
        shape = flux.detect({name: shapes[own] for name, own in names.items()})
    except ModelError as error:
        raise error.about(path) from error
    return shape, vram_modules.plain_unet(shape, vram_modules.bytes_each(header))


def t5_encoder(path: Path) -> tuple[Module, ...]:
    """Modules of a T5-XXL, likewise.

    Raises:
        ModelError: it cannot be read, or is no T5 encoder.
    """
    if path.suffix.lower() == GGUF:
        header = gguf_file.read_header(path)
        try:
            t5.find_in_gguf(header.shapes)
        except ModelError as error:
            raise error.about(path) from error
        return vram_companions.t5_gguf((one.name, one.shape, one.type) for one in header.tensors)
    plain = safetensors_file.read_header(path)
    if not t5.is_t5(plain.names):
        raise ModelError("it is no T5 encoder", path=path, fix="Use t5xxl_fp16.safetensors")
    return vram_companions.t5_plain(vram_modules.bytes_each(plain))


def vae(path: Path) -> Weights:
    """Modules of an autoencoder; ModelError if the file cannot be read."""
    return vram_companions.vae(safetensors_file.read_header(path))


def lora(path: Path) -> int:
    """Bytes of a LoRA that cross the bus at each step; ModelError if the file cannot be read.

    On a GGUF it is applied at each use of a layer, from the machine's memory and in float32, which
    torch makes of it before it is moved (ComfyUI-GGUF ops.py:155, comfy/weight_adapter/lora.py:162,
    comfy/model_management.py:1070). "patch_on_device" changes nothing: adapters are not moved.
    """
    return sum(4 * prod(tensor.shape) for tensor in safetensors_file.read_header(path).tensors)
