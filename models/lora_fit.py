"""What ComfyUI would make of a LoRA on a given base: which layers apply, and what goes wrong.

ComfyUI skips what it does not understand with a line in its log, and calls the job a success. Here
that is found beforehand. There are three kinds of findings: what is left out (the rest would still
apply, and `lora.allow_partial` lets that through), what applies with another scale than the file
means (likewise), and what is broken: nobody can say what the picture would be.

Shapes and names only; NaN among the weights is quantize/lora_norms.py's to find.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from models import lora as lora_file
from models import lora_keys, lora_readers
from models.lora import LoraFile, LoraLayer

_MOST, _LEAST = 16.0, 1 / 256  # scales beyond these are most likely mistakes

Shapes = Mapping[str, tuple[int, ...]]


class Kind(Enum):
    """What a finding means for a job."""

    LEFT_OUT = auto()
    RENAME = auto()  # left out because of its names only
    RESCALED = auto()
    BROKEN = auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the LoRA that keeps it from applying as it should, in a sentence."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Fit:
    """How a LoRA fits a base.

    Attributes:
        applied: the layers that ComfyUI applies.
        in_diffusers: those that diffusers applies.
        total: how many layers the file has, those without a target included.
        findings: why the others do not, and what else is wrong; empty if all is well.
    """

    applied: tuple[LoraLayer, ...]
    in_diffusers: tuple[LoraLayer, ...]
    total: int
    findings: tuple[Finding, ...]

    @property
    def texts(self) -> list[str]:
        """The findings as sentences."""
        return [finding.text for finding in self.findings]

    @property
    def usable_in_part(self) -> bool:
        """Whether something applies, and what does is certain."""
        return bool(self.applied) and all(one.kind is not Kind.BROKEN for one in self.findings)

    @property
    def converting_helps(self) -> bool:
        """Whether `lora convert` removes every finding."""
        curable = (Kind.RENAME, Kind.RESCALED)
        return bool(self.findings) and all(one.kind in curable for one in self.findings)

    @property
    def told(self) -> str:
        """How much applies, such as "34 of 38 layers"; what a picture's record says."""
        scaled = sum(layer.scale != layer.scale_in_comfyui for layer in self.applied)
        other = f", {scaled} at another scale than the file means" if scaled else ""
        return f"{len(self.applied)} of {self.total} layers{other}"


def judge(lora: LoraFile, shapes: Shapes) -> Fit:
    """Compare a LoRA with a base's reference shapes, by ComfyUI's rules."""
    readers = lora_readers.readers(lora)
    bad = {layer.up.name: list(lora_file.misfits(layer, shapes)) for layer in lora.layers}
    return Fit(
        tuple(layer for layer in readers.comfyui if not bad[layer.up.name]),
        tuple(layer for layer in readers.diffusers if not bad[layer.up.name]),
        len(lora.layers) + len(_stems(lora.unmatched)),
        tuple(_findings(lora, shapes, readers.comfyui, bad)),
    )


def _findings(
    lora: LoraFile, shapes: Shapes, heard: tuple[LoraLayer, ...], bad: Mapping[str, list[str]]
) -> Iterator[Finding]:
    for key in lora.unmatched:
        yield Finding(Kind.LEFT_OUT, f"{key} names nothing in the model")
    for text in lora_file.doubles(lora.layers):
        yield Finding(Kind.BROKEN, text)
    for layer in lora.layers:
        kind = Kind.BROKEN if _breaks(layer, shapes) else Kind.LEFT_OUT
        yield from (Finding(kind, text) for text in bad[layer.up.name])
    known = {layer.up.name for layer in heard}
    unheard = [layer for layer in lora.layers if layer.up.name not in known]
    if unheard:
        yield Finding(Kind.RENAME, _ignored(unheard))
    if any(layer.scale != layer.scale_in_comfyui for layer in heard):
        yield Finding(Kind.RESCALED, lora_readers.differences(lora)[0])


def _breaks(layer: LoraLayer, shapes: Shapes) -> bool:
    """Whether ComfyUI applies the misfit all the same: it reshapes what has as many numbers."""
    base = shapes.get(f"{layer.module}.weight", (0, 0))
    if not math.isfinite(layer.scale):
        return True
    return (
        len(base) == 2
        and layer.up.shape[1] == layer.rank
        and layer.up.shape[0] * layer.down.shape[1] == layer.rows * base[1]
    )


def _ignored(layers: list[LoraLayer]) -> str:
    names = ", ".join(sorted({layer.family for layer in layers}))
    return (
        f"ComfyUI ignores {len(layers)} layers because of their names, such as "
        f"{layers[0].up.name} (naming: {names})"
    )


def _stems(keys: tuple[str, ...]) -> set[str]:
    parts = ((lora_keys.split(key), key) for key in keys)
    return {found.stem if found else key for found, key in parts}


def warnings(lora: LoraFile) -> list[str]:
    """What fits and is odd all the same: alphas that are most likely mistakes."""
    finite = [layer for layer in lora.layers if math.isfinite(layer.scale)]
    kinds: Mapping[str, Callable[[float], bool]] = {
        "a scale of 0, so they change nothing": lambda scale: scale == 0,
        "a negative scale, so they do the opposite of what was learned": lambda scale: scale < 0,
        f"a scale above {_MOST:g}": lambda scale: scale > _MOST,
        "a scale below 1/256": lambda scale: 0 < scale < _LEAST,
    }
    found = {told: [x for x in finite if test(x.scale)] for told, test in kinds.items()}
    return [
        f"{len(layers)} layers have {told} ({layers[0].up.name}: {layers[0].scale:g})"
        for told, layers in found.items()
        if layers
    ]
