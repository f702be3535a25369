"""Where a stage of a training stands, as one safetensors file: weights, optimisers, step.

Written whole or not at all, so a stop at any moment leaves the last one. No pickles.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn
from torch.optim import Optimizer

from models import store
from training import optimiser_state
from training.optimiser_state import Tensors

_STEP = "step"


def write(
    path: Path, step: int, modules: Mapping[str, nn.Module], optimisers: Sequence[Optimizer]
) -> None:
    """Write a checkpoint.

    Raises:
        OSError: the disk refuses.
    """
    tensors: Tensors = {_STEP: torch.tensor(step)}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for number, optimiser in enumerate(optimisers):
        tensors |= {
            f"optimiser{number}/{key}": value
            for key, value in optimiser_state.flat(optimiser).items()
        }
    # Tied weights share memory, and convolutions may lie in another order: it writes neither.
    store.atomic_write(
        path,
        save(
            {
                key: value.cpu().clone(memory_format=torch.contiguous_format)
                for key, value in tensors.items()
            }
        ),
    )


def read(path: Path, modules: Mapping[str, nn.Module], optimisers: Sequence[Optimizer] = ()) -> int:
    """Restore what a checkpoint holds and return its step; 0 if there is none."""
    if not path.is_file():
        return 0
    tensors = load_file(path)
    for name, module in modules.items():
        module.load_state_dict(optimiser_state.below(tensors, f"{name}/"))
    for number, optimiser in enumerate(optimisers):
        optimiser_state.restore(optimiser, optimiser_state.below(tensors, f"optimiser{number}/"))
    return int(tensors[_STEP])
