"""``director.py bake``: a Flux with LoRAs in it becomes a GGUF, once, with a proof of each layer.

The baker (and numpy with it) is loaded only here, so the director proper stays small.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import bake_report, quantize_command
from core.lora_strength import lora_and_strength
from core.prepare import target_name
from models.tensor_types import FileType
from quantize import overrides
from quantize.errors import Problem, QuantizeError

if TYPE_CHECKING:
    from quantize.bake_plan import BakePlan
    from quantize.convert import Progress
    from quantize.layer_proof import LayerProof

    Step = Progress | LayerProof

_LONGEST = 120  # characters of all LoRAs in a file name


@dataclass(frozen=True, slots=True)
class LoraWish:
    """A LoRA as it is named on the command line."""

    path: Path
    strength: float


def run(arguments: argparse.Namespace) -> int:
    """Bake; a target of the same content is kept, another one too unless ``--force``.

    Raises:
        QuantizeError, ModelError: base or a LoRA cannot be used, or the target not be written.
    """
    from quantize import bake, bake_plan, bake_record  # bring numpy
    from quantize.lora_delta import Choice

    file_type = quantize_command.file_type_of(arguments.type)
    wishes = [parse_wish(text) for text in arguments.lora]
    target = arguments.out or default_target(arguments.source, wishes, file_type)
    plan = bake_plan.make(
        arguments.source,
        target,
        file_type,
        [Choice(wish.path, wish.strength) for wish in wishes],
        [overrides.parse(wish) for wish in arguments.tensor_type],
    )
    there = bake_record.read(target) if target.is_file() and not arguments.force else None
    if there is not None and there.key == plan.record.key:
        bake_report.up_to_date(target, there.proofs, arguments.json)
        return _tell(arguments, target, there.proofs)
    _refuse_other(target, arguments.force, there is not None)
    _notes(plan, arguments.json)
    started = time.monotonic()
    steps = bake.run(plan, workers=os.cpu_count() or 1, force=arguments.force)
    with quantize_command.tidy_when_terminated(), closing(steps):
        proofs = _followed(steps, arguments)
    bake_report.done(plan, proofs, time.monotonic() - started, arguments.json)
    return _tell(arguments, target, proofs)


def _tell(arguments: argparse.Namespace, target: Path, proofs: "Iterable[LayerProof]") -> int:
    found = list(proofs)
    if arguments.report:
        bake_report.write_json(arguments.report, target, found)
    if arguments.plot:
        bake_report.draw(arguments.plot, target, found)
    return 0


def _refuse_other(target: Path, force: bool, baked: bool) -> None:
    if target.exists() and not force:
        raise QuantizeError(
            Problem.TARGET_EXISTS,
            "the target exists and is kept",
            path=target,
            why="it was baked from something else" if baked else "it was not baked here",
            fix="Use --force to replace it, or --out for another name",
        )


def parse_wish(text: str) -> LoraWish:
    """Read FILE[:STRENGTH]; a colon in a file's own name is no strength.

    Raises:
        ModelError: the strength is out of range.
    """
    name, strength = lora_and_strength(text)
    return LoraWish(Path(name), strength)


def default_target(source: Path, wishes: Iterable[LoraWish], file_type: FileType) -> Path:
    """Beside the base: its name, the LoRAs' with strengths other than 1, and the type."""
    place = source.resolve() if source.is_dir() else source
    loras = "-".join(
        wish.path.stem + ("" if wish.strength == 1 else f"-{wish.strength:g}") for wish in wishes
    )
    if len(os.fsencode(loras)) > _LONGEST:
        loras = loras.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    base, type_ = target_name(source, file_type.name).rsplit(f"-{file_type.name}", 1)
    return place.with_name(f"{base}-{loras}-{file_type.name}{type_}")


def _notes(plan: "BakePlan", as_json: bool) -> None:
    for note in (*plan.notes, *quantize_command.slow_places(plan.conversion)):
        bake_report.note(note, as_json)


def _followed(steps: "Iterable[Step]", arguments: argparse.Namespace) -> "list[LayerProof]":
    """Go through all steps, showing them; keeps the proofs."""
    proofs: list[LayerProof] = []
    if arguments.json:
        quantize_command.follow_json(sorted_out(steps, proofs), "")
        return proofs
    quantize_command.follow_bar(sorted_out(steps, proofs), arguments.source.name)
    return proofs


def sorted_out(steps: "Iterable[Step]", proofs: "list[LayerProof]") -> "Iterator[Progress]":
    """Yield the progress of a bake, and put its proofs into the list."""
    from quantize.convert import Progress

    for step in steps:
        if isinstance(step, Progress):
            yield step
        else:
            proofs.append(step)
