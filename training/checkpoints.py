"""Where a training stands, on disk: the LoRA, the optimiser, the step; the two newest are kept.

A checkpoint is a safetensors file and, written after it, a JSON with its SHA-256. Only what has
both, and agrees, counts: a file that a kill, a full disk or a download left damaged is passed over
for the one before. No pickles.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torch.optim import Optimizer

from models import store
from models.errors import ModelError
from training import optimiser_state
from training.errors import TrainingError

KEPT = 2
_NAME = re.compile(r"step-([0-9]{6,})\.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One on disk.

    Attributes:
        step: updates made.
        path: its file.
        digest: hash of what was trained (:func:`training.plan_digest.digest`).
    """

    step: int
    path: Path
    digest: str


@dataclass(slots=True)
class Standing:
    """What a checkpoint holds of a training that is under way.

    Attributes:
        step: updates made.
        lora: what is trained, by name.
        optimiser: with its state.
        scale: factor of the loss in float16.
        growth: updates since the scale last changed.
    """

    step: int
    lora: dict[str, nn.Parameter]
    optimiser: Optimizer
    scale: float = 1.0
    growth: int = 0


def write(folder: Path, standing: Standing, digest: str) -> Path:
    """Write a checkpoint and forget all but the newest two.

    Raises:
        OSError: the disk refuses; those before stay.
    """
    path = folder / f"step-{standing.step:06}.safetensors"
    content = save(_tensors(standing))
    store.atomic_write(path, content)
    facts = {"step": standing.step, "sha256": store.sha256(path), "digest": digest}
    store.atomic_write(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    for old in list(_listed(folder))[KEPT:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return path


def newest(folder: Path, digest: str | None = None) -> Checkpoint | None:
    """Return the newest checkpoint that is whole; None where there is none.

    Args:
        folder: where they lie.
        digest: only those of this training; None: any.
    """
    for path in _listed(folder):
        found = _checked(path)
        if found is not None and digest in (None, found.digest):
            return found
    return None


def restore(checkpoint: Checkpoint, standing: Standing) -> None:
    """Put a training where a checkpoint says it stood.

    Raises:
        TrainingError: it is of another LoRA.
    """
    tensors = read(checkpoint.path)
    own = {name.removeprefix("lora/"): one for name, one in tensors.items() if name[:5] == "lora/"}
    if {name: one.shape for name, one in own.items()} != {
        name: one.shape for name, one in standing.lora.items()
    }:
        raise TrainingError(
            "the checkpoint is of another LoRA", path=checkpoint.path, fix="Begin in a new folder"
        )
    with torch.no_grad():
        for name, parameter in standing.lora.items():
            parameter.copy_(own[name])
    optimiser_state.restore(standing.optimiser, optimiser_state.below(tensors, "optimiser/"))
    standing.step = int(tensors["step"])
    standing.scale, standing.growth = float(tensors["scale"]), int(tensors["growth"])


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read a checkpoint's tensors.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError("the checkpoint cannot be read", path=path, why=str(error)) from error


def _tensors(standing: Standing) -> dict[str, torch.Tensor]:
    state = optimiser_state.flat(standing.optimiser)
    tensors = {
        "step": torch.tensor(standing.step),
        "scale": torch.tensor(standing.scale, dtype=torch.float64),
        "growth": torch.tensor(standing.growth),
        **{f"lora/{name}": one.detach() for name, one in standing.lora.items()},
        **{f"optimiser/{name}": one for name, one in state.items()},
    }
    return {name: one.cpu().contiguous() for name, one in tensors.items()}


def _listed(folder: Path) -> Iterator[Path]:
    """Yield the JSON files of all checkpoints, the newest first."""
    found = [path for path in folder.glob("step-*.json") if _NAME.fullmatch(path.name)]
    yield from sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _checked(path: Path) -> Checkpoint | None:
    try:
        facts: Any = json.loads(path.read_bytes())
        tensors = path.with_suffix(".safetensors")
        if store.sha256(tensors) != facts["sha256"]:
            return None
        return Checkpoint(int(facts["step"]), tensors, str(facts["digest"]))
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
