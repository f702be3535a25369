"""Which layers of a model lie on the card, and which come to it each time they compute.

A model that does not fit is not refused: its packed layers stay in memory, mapped from the file, as
many of the largest as have room are copied to the card for good, and the others for each of their
forwards (ComfyUI's partial loading, comfy/model_patcher.py, does the same). What else a model has,
biases and norms, is small and always on the card.
"""

from collections.abc import Sequence

import torch
from torch import nn

from host.packed import PackedLinear

_UNPACKING = 12
"""Bytes for each weight while a layer is unpacked: levels, numbers and result, in float32 first."""


def layers(model: nn.Module) -> list[PackedLinear]:
    """Return a model's packed layers."""
    return [module for module in model.modules() if isinstance(module, PackedLinear)]


def unpacking(model: nn.Module) -> int:
    """Return the most bytes that unpacking one layer takes."""
    sizes = [one.in_features * one.out_features for one in layers(model)]
    return _UNPACKING * max(sizes, default=0)


def resident(model: nn.Module, device: torch.device) -> int:
    """Return the bytes of packed layers that lie on a device."""
    return sum(one.nbytes for one in layers(model) if one.weight.device.type == device.type)


def chosen(sizes: Sequence[int], room: int) -> frozenset[int]:
    """Return which of some sizes are to stay: the largest first, as long as there is room."""
    found: set[int] = set()
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if sizes[index] <= room:
            found.add(index)
            room -= sizes[index]
    return frozenset(found)


def fit(model: nn.Module, device: torch.device, room: int) -> int:
    """Have packed layers stay on a device in so many bytes, and all others leave it.

    Returns:
        The bytes that stay.
    """
    packed = layers(model)
    stays = chosen([one.nbytes for one in packed], room)
    for index, layer in enumerate(packed):  # first those that leave, so that there is room
        if index not in stays:
            layer.stay(None)
    for index in stays:
        packed[index].stay(device)
    return sum(packed[index].nbytes for index in stays)


def settle(model: nn.Module, device: torch.device) -> None:
    """Bring everything but packed weights to a device."""
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            if not (isinstance(module, PackedLinear) and name == "weight"):
                setattr(module, name, nn.Parameter(value.to(device), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
