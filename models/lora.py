"""LoRA files: which rows of which base tensor they change, by how much, and whether they fit.

A LoRA layer is a pair of thin matrices: the base weight W (rows, in) becomes
W + strength * scale * up (rows, rank) @ down (rank, in), with scale = alpha / rank, or 1 without
an alpha (what ComfyUI does, so both hosts draw the same picture).

Read from the header; the only data read are the alphas, one number each. Nothing is applied here:
the host does that.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models import lora_keys, safetensors_file
from models.errors import ModelError
from models.flux import FluxShape
from models.lora_keys import Family, Part, Target
from models.safetensors_file import SafetensorsFile, TensorInfo

__all__ = ["Family", "LoraFile", "LoraLayer", "problems", "read"]

_FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class LoraLayer:
    """The change of `rows` rows, from `start_row`, of the reference tensor `module`.weight.

    Attributes:
        module: reference module name, without ".weight".
        start_row: first row that changes.
        rows: how many do.
        down: A, (rank, in).
        up: B, (rows, rank).
        alpha: the file's alpha, if it has one.
        swap_halves: up's halves are in diffusers' order, the reverse of the reference's.
    """

    module: str
    start_row: int
    rows: int
    down: TensorInfo
    up: TensorInfo
    alpha: float | None
    swap_halves: bool = False

    @property
    def rank(self) -> int:
        """Inner width of the pair."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Factor on up @ down at strength 1."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One LoRA file, resolved against a base.

    Attributes:
        path: the file.
        family: its naming.
        layers: what it changes.
        unmatched: keys that name nothing in the base.
        text_encoder: keys for CLIP or T5; LoraLoaderModelOnly leaves them out, so do we.
        metadata: the header's texts.
        trigger_words: words that call what it learned, if the file names them.
    """

    path: Path
    family: Family
    layers: tuple[LoraLayer, ...]
    unmatched: tuple[str, ...]
    text_encoder: tuple[str, ...]
    metadata: Mapping[str, str]
    trigger_words: tuple[str, ...]


def problems(lora: LoraFile, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Why the LoRA does not fit a base of these reference shapes; empty if it does.

    One sentence per key that finds no target and per layer whose shape misfits.
    """
    lost = [f"{key} names nothing in the model" for key in lora.unmatched]
    return lost + [finding for layer in lora.layers for finding in _misfits(layer, shapes)]


def _misfits(layer: LoraLayer, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    base = shapes.get(f"{layer.module}.weight")
    if base is None or len(base) != 2 or layer.start_row + layer.rows > base[0]:
        yield f"{layer.module} has no rows {layer.start_row} to {layer.start_row + layer.rows}"
        return
    for info, wanted in ((layer.down, (layer.rank, base[1])), (layer.up, (layer.rows, layer.rank))):
        if info.shape != wanted:
            yield f"{info.name} is {info.shape}, but the model needs {wanted}"


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that a file's metadata name as its trigger, without repeats."""
    texts = (metadata.get(key, "") for key in ("trigger_words", "modelspec.trigger_phrase"))
    words = (word.strip() for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def read(path: Path, shape: FluxShape) -> LoraFile:
    """Read a LoRA's header and resolve every key against a base of this shape.

    Keys that find no target are listed in `unmatched`, not refused: problems() tells them.

    Raises:
        ModelError: the file is unsafe, damaged, no LoRA, a relative of LoRA (DoRA, LyCORIS), or
            for another kind of model altogether.
    """
    file = safetensors_file.read_header(path)
    if kind := lora_keys.relative(file.names):
        raise ModelError(
            "Vulcan cannot apply this LoRA",
            path=path,
            why=f"it is {kind}, not a pair of matrices",
            fix="Merge it into the base first, or use a plain LoRA",
        )
    targets = lora_keys.targets(shape)
    found: dict[str, dict[Part, TensorInfo]] = {}
    unmatched: list[str] = []
    text_encoder: list[str] = []
    for info in file.tensors:
        key = lora_keys.split(info.name)
        if key and key.stem in targets:
            found.setdefault(key.stem, {})[key.part] = info
        else:
            (text_encoder if lora_keys.is_text_encoder(info.name) else unmatched).append(info.name)
    if not found:
        raise _foreign(file)
    layers = [_layer(path, targets[stem], parts) for stem, parts in found.items()]
    return LoraFile(
        path,
        lora_keys.family(layers[0].down.name),
        tuple(layers),
        tuple(unmatched),
        tuple(text_encoder),
        file.metadata,
        trigger_words(file.metadata),
    )


def _layer(path: Path, target: Target, parts: Mapping[Part, TensorInfo]) -> LoraLayer:
    if Part.DOWN not in parts or Part.UP not in parts:
        raise _damaged(path, f"{target.module} has no pair of down and up")
    down, up = parts[Part.DOWN], parts[Part.UP]
    for info in (down, up):
        if len(info.shape) != 2 or 0 in info.shape or info.dtype not in _FLOATS:
            raise _damaged(path, f"{info.name} is {info.dtype} {info.shape}, no float matrix")
    alpha = _number(path, parts[Part.ALPHA]) if Part.ALPHA in parts else None
    return LoraLayer(
        target.module, target.start_row, target.rows, down, up, alpha, target.swap_halves
    )


def _number(path: Path, info: TensorInfo) -> float:
    """Read a tensor of one number."""
    if info.dtype not in _FLOATS or prod(info.shape) != 1:
        raise _damaged(path, f"{info.name} is {info.dtype} {info.shape}, no single number")
    packed = bytearray(info.nbytes)
    with path.open("rb") as file:
        safetensors_file.read_into(file.fileno(), info.offset, memoryview(packed))
    if info.dtype == "BF16":  # the upper half of a float32
        return float(struct.unpack("<f", b"\0\0" + packed)[0])
    return float(struct.unpack("<e" if info.dtype == "F16" else "<f", packed)[0])


def _foreign(file: SafetensorsFile) -> ModelError:
    names = ", ".join(file.names[:2]) or "no tensor at all"
    if any(lora_keys.split(name) for name in file.names):
        return ModelError(
            "the LoRA was made for another kind of model than FLUX.1",
            path=file.path,
            why=f"no key names a FLUX.1 layer as ComfyUI does; it has {names}",
            fix="Use a LoRA for FLUX.1 in diffusers/PEFT or kohya naming",
        )
    return ModelError(
        "it is no LoRA",
        path=file.path,
        why=f"it has no pair of down and up; it has {names}",
        fix="Use a LoRA for FLUX.1",
    )


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        "the LoRA file is damaged", path=path, why=why, fix="Download or copy it again"
    )
