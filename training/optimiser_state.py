"""An optimiser's state as named tensors, and back. Knows nothing of files."""

from collections.abc import Mapping

import torch
from torch.optim import Optimizer

Tensors = dict[str, torch.Tensor]


def flat(optimiser: Optimizer) -> Tensors:
    """Return the state under names ``PARAMETER/KEY``."""
    return {
        f"{index}/{key}": torch.as_tensor(value)
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }


def restore(optimiser: Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what :func:`flat` gave; groups and rates stay as they are."""
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def below(tensors: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    """Return the tensors under a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
