"""The models that a plan is about: files where they lie here, their known shapes where not.

FLUX.1-dev and T5-XXL have known shapes, and the recipes say what each file type makes of them, so a
plan needs no file: sizes are to the byte what the quantiser lays out.
"""

import re
from functools import cache
from pathlib import Path

from models import flux, gguf_layout, t5, vram_companions, vram_files, vram_modules
from models.errors import ModelError
from models.flux import FLUX_DEV, FluxShape
from models.tensor_types import FileType
from models.vram_modules import Module, Sized, Weights
from quantize import recipe, t5_recipe

# From the best to the smallest; the old types and Q3_K_L are no better than a neighbour.
BY_QUALITY = (
    *(FileType.F16, FileType.Q8_0, FileType.Q6_K, FileType.Q5_K_M, FileType.Q5_K_S),
    *(FileType.Q4_K_M, FileType.Q4_K_S, FileType.Q3_K_M, FileType.Q3_K_S, FileType.Q2_K),
)
PLAIN_T5 = {"fp16": 2, "fp8": 1}  # bytes a weight
_PLAIN = re.compile(r"fp8|f8|fp16|f16|bf16", re.IGNORECASE)


def file_type(text: str) -> FileType | None:
    """Return the file type of this name, or that a file's name ends in; ``None`` if it is none."""
    wanted = text.upper().removesuffix(".GGUF")
    found = [kind for kind in FileType if re.search(rf"(^|[^A-Z0-9]){kind.name}$", wanted)]
    return max(found, key=lambda kind: len(kind.name), default=None)


@cache
def flux_dev(kind: FileType) -> Weights:
    """FLUX.1-dev, as the quantiser makes it of the BF16 original."""
    return vram_modules.unet(_flux_tensors(kind))


def flux_dev_bytes(kind: FileType) -> int:
    """The size of that file."""
    return gguf_layout.layout("flux", kind, _flux_tensors(kind)).total_bytes


def _flux_tensors(kind: FileType) -> list[Sized]:
    return [
        (name, shape, recipe.tensor_type(name, shape, recipe.stored_type("BF16", shape), kind))
        for name, shape in flux.tensor_shapes(FLUX_DEV).items()
    ]


@cache
def t5_xxl(kind: FileType) -> tuple[Module, ...]:
    """T5-XXL, as the quantiser makes it of the F16 original."""
    return vram_companions.t5_gguf(_t5_tensors(kind))


def t5_xxl_bytes(kind: FileType) -> int:
    """The size of that file, without a tokenizer."""
    values = t5.values(t5.XXL)
    return gguf_layout.layout(t5.ARCHITECTURE, kind, _t5_tensors(kind), values).total_bytes


def _t5_tensors(kind: FileType) -> list[Sized]:
    layers = t5.XXL.layers
    return [
        (
            name,
            shape,
            t5_recipe.tensor_type(
                name, shape, t5_recipe.stored_type("F16", shape), kind, layers
            ),
        )
        for name, shape in t5.tensor_shapes(t5.XXL).items()
    ]  # fmt: skip


def unet(wanted: str | Path) -> tuple[FluxShape, Weights, str]:
    """Sizes, modules and a name of the unet that a file, or a file type, names.

    Raises:
        ModelError: neither such a file nor such a type, or the file is no FLUX.1.
    """
    path = Path(wanted)
    if path.is_file():
        return (*vram_files.unet(path), path.name)
    kind = file_type(path.name)
    if kind is None:
        raise _unknown(path, "Name a GGUF or safetensors file, or a type such as Q4_K_S")
    return FLUX_DEV, flux_dev(kind), f"FLUX.1-dev {kind.name}"


def encoders(wanted: str | Path) -> tuple[Weights, str]:
    """Both text encoders and a name of the T5 that a file, or a file type, names.

    Raises:
        ModelError: as unet().
    """
    path = Path(wanted)
    if path.is_file():
        packed = path.suffix.lower() == vram_files.GGUF
        return _both(vram_files.t5_encoder(path), packed), path.name
    kind = file_type(path.name)
    if kind is not None and not (kind is FileType.F16 and not path.name.lower().endswith(".gguf")):
        return _both(t5_xxl(kind), True), f"T5-XXL {kind.name}"
    plain = _PLAIN.search(path.name)
    if plain is None:
        raise _unknown(path, "Name a GGUF or safetensors file, a type such as Q8_0, fp8 or fp16")
    name = "fp8" if "8" in plain[0] else "fp16"
    return _both(vram_companions.t5_plain(PLAIN_T5[name]), False), f"T5-XXL {name}"


def _both(t5_modules: tuple[Module, ...], packed: bool) -> Weights:
    return vram_companions.encoders(vram_companions.clip_l(gguf_loader=packed), t5_modules)


def _unknown(path: Path, fix: str) -> ModelError:
    return ModelError("there is no such file, and it names no file type", path=path, fix=fix)
