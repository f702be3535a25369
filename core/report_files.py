"""The files that a comparison needs, FP16, quantised and baked, made in a folder by their content.

Names are made of what goes in (fingerprint of the base, key of the bake), so what lies there under
its name is what it should be, and is not made again.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from core import bake_command
from models import fingerprint
from models.tensor_types import FileType
from quantize import bake, bake_plan, bake_record, convert
from quantize.bake_plan import BakePlan
from quantize.convert import Progress
from quantize.layer_proof import LayerProof
from quantize.lora_delta import Choice

_DIGITS = 16  # of a hash, in a file's name

Follow = Callable[[Iterable[Progress], str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared.

    Attributes:
        source: the FP16 model: file, index or folder.
        file_type: what it is quantised to.
        loras: as for bake; none for a comparison without.
    """

    source: Path
    file_type: FileType
    loras: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Baked:
    """A baked file, the plan it was made by, and the proof of each layer."""

    path: Path
    plan: BakePlan
    proofs: tuple[LayerProof, ...]


def quantised(wanted: Wanted, file_type: FileType, folder: Path, follow: Follow) -> Path:
    """Return the source as a GGUF of this type, making it if need be.

    Raises:
        QuantizeError, ModelError: as for quantize.
    """
    plan = convert.plan(wanted.source, folder / "unnamed.gguf", file_type)
    target = folder / f"{fingerprint.of(plan.files)[:_DIGITS]}-{file_type.name}.gguf"
    if not target.exists():
        plan = convert.plan(wanted.source, target, file_type)
        with closing(convert.run(plan, workers=os.cpu_count() or 1)) as steps:
            follow(steps, f"{wanted.source.name} as {file_type.name}")
    return target


def baked(wanted: Wanted, folder: Path, follow: Follow, known: Sequence[Path] = ()) -> Baked:
    """Return the source with the LoRAs in it, making it if need be.

    Args:
        wanted: what is compared.
        folder: where it is made.
        follow: shows the steps.
        known: files that may be it already.

    Raises:
        QuantizeError, ModelError, PairingError: as for bake.
    """
    plan = _plan(wanted, folder / "unnamed.gguf")
    key = plan.record.key
    target = folder / f"{key[:_DIGITS]}-baked.gguf"
    for path in (*known, target):
        found = bake_record.read(path) if path.is_file() else None
        if found is not None and found.key == key:
            return Baked(path, plan, found.proofs)
    plan, proofs = _plan(wanted, target), list[LayerProof]()
    with closing(bake.run(plan, workers=os.cpu_count() or 1, force=True)) as steps:
        follow(bake_command.sorted_out(steps, proofs), f"{wanted.source.name} with the LoRA")
    written = bake_record.read(target)  # as a second time will read it: rounded
    return Baked(target, plan, written.proofs if written else tuple(proofs))


def _plan(wanted: Wanted, target: Path) -> BakePlan:
    return bake_plan.make(wanted.source, target, wanted.file_type, wanted.loras)
