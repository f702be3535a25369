"""The frozen base of a training: a unet whose weights stay packed, and never change.

The unet is the embedded host's own (:mod:`host.flux`), with the very layers that will render; only
the backward pass is added here. torch's own keeps the unpacked weight of every layer from forward
to backward, which for all of FLUX.1 is the 24 GB that quantising saved. :class:`FrozenLinear`
unpacks it a second time instead (bitsandbytes' MatMul4Bit does the same): of what lies between the
passes, only activations are left, and gradient checkpointing takes care of those.
"""

from typing import Any

import torch
from torch import nn

from host.packed import PackedLinear


class _Applied(torch.autograd.Function):
    """``input @ weight.T + bias`` with a weight that is unpacked in each direction anew."""

    @staticmethod
    def forward(context: Any, input: torch.Tensor, layer: PackedLinear) -> torch.Tensor:  # noqa: A002 - torch's name
        context.layer = layer
        return nn.functional.linear(input, layer.unpacked(input.device), layer.bias)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        weight = context.layer.unpacked(gradient.device)
        return gradient @ weight.to(gradient.dtype), None


class FrozenLinear(PackedLinear):
    """A packed layer through which gradients flow, and which keeps nothing for them."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.Linear's name
        """Apply the layer."""
        if not (torch.is_grad_enabled() and input.requires_grad):
            return super().forward(input)
        applied: torch.Tensor = _Applied.apply(input, self)  # type: ignore[no-untyped-call] # torch
        return applied


def freeze(model: nn.Module) -> None:
    """Turn a model's packed layers into frozen ones, in place; nothing is copied."""
    for module in model.modules():
        if type(module) is PackedLinear:
            module.__class__ = FrozenLinear
    model.requires_grad_(requires_grad=False)
