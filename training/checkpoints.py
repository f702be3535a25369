"""Where a training stands, on disk: the LoRA, the optimiser, the step. No pickles.

:mod:`training.checkpoint_files` says which of them count.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torch.optim import Optimizer

from models import store
from training import checkpoint_files, optimiser_state
from training.checkpoint_files import Checkpoint
from training.errors import TrainingError


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
    path = checkpoint_files.path_of(folder, standing.step)
    store.atomic_write(path, save(_tensors(standing)))
    checkpoint_files.announce(path, standing.step, digest)
    return path


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
