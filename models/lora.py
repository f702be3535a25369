"""LoRA files: which rows of which base tensor they change, by how much, and whether they fit.

A LoRA layer is a pair of thin matrices: the base weight W (rows, in) becomes
W + strength * scale * up (rows, rank) @ down (rank, in). The scale is alpha / rank where the file
has an alpha key, else what its metadata state (models/lora_scale.py), else 1.

Read from the header; the only data read are the alphas, one number each. Nothing is applied here:
the host does that. What ComfyUI makes of a file is models/lora_fit.py's.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from models import (
    lora_keys,
    lora_metadata,
    lora_relatives,
    lora_scale,
    lora_shape,
    safetensors_file,
)
from models.errors import ModelError
from models.flux import FluxShape, diffusers_pieces
from models.lora_keys import Family, Part, Style, Target
from models.lora_scale import Adapter
from models.safetensors_file import SafetensorsFile, TensorInfo

__all__ = ["Family", "LoraFile", "LoraLayer", "problems", "read"]

FLOATS = ("F32", "F16", "BF16")
# Their metadata's scale counts: these are the names that diffusers writes.
_DIFFUSERS_NAMES = (Family.PEFT, Family.DIFFUSERS_OLD, Family.DIFFUSERS_BARE, Family.PEFT_RAW)


@dataclass(frozen=True, slots=True)
class LoraLayer:
    """The change of `rows` rows, from `start_row`, of the reference tensor `module`.weight.

    Attributes:
        module: reference module name, without ".weight".
        start_row: first row that changes.
        rows: how many do.
        down: A, (rank, in).
        up: B, (rows, rank).
        alpha: the alpha key's number, if the file has one.
        swap_halves: up's halves are in diffusers' order, the reverse of the reference's.
        family: the naming of its keys.
        style: the suffixes of its keys.
        stated: the scale that the metadata state, if they do.
    """

    module: str
    start_row: int
    rows: int
    down: TensorInfo
    up: TensorInfo
    alpha: float | None
    swap_halves: bool = False
    family: Family = Family.PEFT
    style: Style = Style.AB
    stated: float | None = None

    @property
    def rank(self) -> int:
        """Inner width of the pair."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Factor on up @ down at strength 1, as the file means it."""
        if self.alpha is None and self.stated is not None:
            return self.stated
        return self.scale_in_comfyui

    @property
    def scale_in_comfyui(self) -> float:
        """The factor that ComfyUI uses: it reads alpha keys, and never the metadata."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One LoRA file, resolved against a base.

    Attributes:
        path: the file.
        family: its naming; of most layers, where several are mixed.
        layers: what it changes.
        unmatched: keys that name nothing in the base.
        text_encoder: keys for CLIP or T5; LoraLoaderModelOnly leaves them out, so do we.
        metadata: the header's texts.
        trigger_words: words that call what it learned, if the file names them.
        shape: sizes of the base that it was resolved against.
    """

    path: Path
    family: Family
    layers: tuple[LoraLayer, ...]
    unmatched: tuple[str, ...]
    text_encoder: tuple[str, ...]
    metadata: Mapping[str, str]
    trigger_words: tuple[str, ...]
    shape: FluxShape

    @property
    def families(self) -> tuple[Family, ...]:
        """All namings that occur in it, the most frequent first."""
        return tuple(family for family, _ in Counter(x.family for x in self.layers).most_common())


def problems(lora: LoraFile, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Why the LoRA does not fit a base of these reference shapes; empty if it does.

    One sentence per key that finds no target, per target that two keys name, and per layer whose
    shape or alpha is wrong.
    """
    return [
        *(f"{key} names nothing in the model" for key in lora.unmatched),
        *doubles(lora.layers),
        *(finding for layer in lora.layers for finding in misfits(layer, shapes)),
    ]


def doubles(layers: Sequence[LoraLayer]) -> list[str]:
    """A sentence for each target that has two layers: ComfyUI applies one of them, unsaid which."""
    found: dict[tuple[str, int, int, bool], list[LoraLayer]] = {}
    for layer in layers:
        place = (layer.module, layer.start_row, layer.rows, layer.swap_halves)
        found.setdefault(place, []).append(layer)
    return [
        f"{' and '.join(layer.up.name for layer in same)} change the same rows of {place[0]}"
        for place, same in found.items()
        if len(same) > 1
    ]


def misfits(layer: LoraLayer, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """What is wrong with one layer for a base of these reference shapes."""
    if not math.isfinite(layer.scale):
        yield f"the scale of {layer.up.name} is {layer.scale}, no number to multiply by"
    base = shapes.get(f"{layer.module}.weight")
    if base is None or len(base) != 2 or layer.start_row + layer.rows > base[0]:
        yield f"{layer.module} has no rows {layer.start_row} to {layer.start_row + layer.rows}"
        return
    for info, wanted in ((layer.down, (layer.rank, base[1])), (layer.up, (layer.rows, layer.rank))):
        if info.shape != wanted:
            yield f"{info.name} is {info.shape}, but the model needs {wanted}"


def read(path: Path, shape: FluxShape | None = None) -> LoraFile:
    """Read a LoRA's header and resolve every key against a base of this shape.

    Keys that find no target are listed in `unmatched`, not refused: problems() tells them. Without
    a shape it is guessed from the LoRA (models/lora_shape.py).

    Raises:
        ModelError: the file is unsafe, damaged, no LoRA, a relative of LoRA (DoRA, LyCORIS), or
            for another kind of model altogether.
    """
    file = safetensors_file.read_header(path)
    _refuse_relatives(file)
    base = shape or lora_shape.guess(file.tensors)
    sorted_out = _sort(file, base)
    if not sorted_out.found:
        raise _foreign(file)
    try:
        adapter = lora_scale.read(file.metadata)
    except ModelError as error:
        raise error.about(path) from error
    layers = _layers(file, sorted_out, base, adapter)
    return LoraFile(
        path,
        Counter(layer.family for layer in layers).most_common(1)[0][0],
        tuple(layers),
        tuple(sorted_out.unmatched),
        tuple(sorted_out.text_encoder),
        file.metadata,
        lora_metadata.trigger_words(file.metadata),
        base,
    )


def _refuse_relatives(file: SafetensorsFile) -> None:
    if kind := lora_relatives.kind(n for n in file.names if not lora_keys.is_text_encoder(n)):
        raise ModelError(
            "Vulcan cannot apply this LoRA",
            path=file.path,
            why=f"it is {kind}, not a pair of matrices",
            fix="Merge it into the base first, or use a plain LoRA",
        )


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The tensors of a file: by target's stem and part, and those without a target."""

    found: dict[str, dict[Part, tuple[TensorInfo, Style | None]]]
    unmatched: list[str]
    text_encoder: list[str]


def _sort(file: SafetensorsFile, shape: FluxShape) -> _Sorted:
    targets = lora_keys.targets(shape)
    out = _Sorted({}, [], [])
    for info in file.tensors:
        key = lora_keys.split(info.name)
        if key and key.stem in targets:
            parts = out.found.setdefault(key.stem, {})
            if key.part in parts:
                twice = f"{parts[key.part][0].name} and {info.name} are the same half of a pair"
                raise _damaged(file.path, twice)
            parts[key.part] = (info, key.style)
        elif lora_keys.is_text_encoder(info.name):
            out.text_encoder.append(info.name)
        else:
            out.unmatched.append(info.name)
    return out


def _layers(
    file: SafetensorsFile, sorted_out: _Sorted, shape: FluxShape, adapter: Adapter | None
) -> list[LoraLayer]:
    targets = lora_keys.targets(shape)
    modules = _diffusers_modules(shape) if adapter else {}
    layers = []
    for stem, parts in sorted_out.found.items():
        target, stated = targets[stem], None
        if adapter and target.family in _DIFFUSERS_NAMES:
            stated = adapter.scale(modules.get((target.module, target.start_row), ""))
        layers.append(_layer(file.path, target, parts, stated))
    return layers


def _diffusers_modules(shape: FluxShape) -> dict[tuple[str, int], str]:
    """Reference module and first row to diffusers' name."""
    return {
        (piece.tensor.removesuffix(".weight"), piece.start_row): name.removesuffix(".weight")
        for name, piece in diffusers_pieces(shape).items()
    }


def _layer(
    path: Path,
    target: Target,
    parts: Mapping[Part, tuple[TensorInfo, Style | None]],
    stated: float | None,
) -> LoraLayer:
    if Part.DOWN not in parts or Part.UP not in parts:
        names = " and ".join(info.name for info, _ in parts.values())
        raise _damaged(path, f"{target.module} has no pair of down and up, but only {names}")
    (down, style), (up, up_style) = parts[Part.DOWN], parts[Part.UP]
    if style is None or style is not up_style:
        raise _damaged(path, f"{down.name} and {up.name} are no pair: their endings differ")
    for info in (down, up):
        if len(info.shape) != 2 or 0 in info.shape or info.dtype not in FLOATS:
            raise _damaged(path, f"{info.name} is {info.dtype} {info.shape}, no float matrix")
    alpha = _number(path, parts[Part.ALPHA][0]) if Part.ALPHA in parts else None
    old = style is Style.OLD and target.family is Family.PEFT
    return LoraLayer(
        target.module,
        target.start_row,
        target.rows,
        down,
        up,
        alpha,
        target.swap_halves,
        Family.DIFFUSERS_OLD if old else target.family,
        style,
        stated,
    )


def _number(path: Path, info: TensorInfo) -> float:
    """Read a tensor of one number."""
    if info.dtype not in FLOATS or prod(info.shape) != 1:
        raise _damaged(path, f"{info.name} is {info.dtype} {info.shape}, no single number")
    packed = bytearray(info.nbytes)
    with path.open("rb") as file:
        safetensors_file.read_into(file.fileno(), info.offset, memoryview(packed))
    if info.dtype == "BF16":  # the upper half of a float32
        return float(struct.unpack("<f", b"\0\0" + packed)[0])
    return float(struct.unpack("<e" if info.dtype == "F16" else "<f", packed)[0])


def _foreign(file: SafetensorsFile) -> ModelError:
    names = ", ".join(file.names[:2]) or "no tensor at all"
    keys = [name for name in file.names if lora_keys.split(name)]
    if keys and all(map(lora_keys.is_text_encoder, keys)):
        return ModelError(
            "the LoRA changes text encoders only",
            path=file.path,
            why=f"Vulcan's hosts apply LoRAs to the unet; it has {names}",
            fix="Use a LoRA that was trained on the unet",
        )
    if keys:
        return ModelError(
            "the LoRA was made for another kind of model than FLUX.1",
            path=file.path,
            why=f"no key names a FLUX.1 layer in any naming that is known; it has {names}",
            fix="Use a LoRA for FLUX.1",
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
