"""Fills a model that was built without weights: linear and embedding layers stay packed.

Works for any torch module (Flux, CLIP, T5), given packed tensors under the module's own parameter
names. The model is built on torch's meta device, so nothing is ever allocated twice.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped] # it has no types
from torch import nn

from host.errors import RenderError
from host.packed import Packed, PackedEmbedding, PackedLinear

Module = TypeVar("Module", bound=nn.Module)


def build(
    make: Callable[[], Module],
    weights: Mapping[str, Packed],
    *,
    dtype: torch.dtype,
    device: torch.device,
    path: Path,
) -> Module:
    """Build a model and give it its weights.

    Args:
        make: builds the model; called with no weights allocated (its buffers are real).
        weights: packed tensors by parameter name; more than needed is fine.
        dtype: type in which the model computes.
        device: where the packed bytes are to lie.
        path: the file, for errors.

    Raises:
        RenderError: a parameter is missing.
    """
    with init_empty_weights(include_buffers=False):
        model = make()
    for name, module in list(_holders(model)):
        _fill(model, name, module, weights, dtype, path)
    return model.to(device).eval()


def _holders(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module that has parameters of its own."""
    for name, module in model.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            yield name, module


def _fill(
    model: nn.Module,
    name: str,
    module: nn.Module,
    weights: Mapping[str, Packed],
    dtype: torch.dtype,
    path: Path,
) -> None:
    own = {key: _find(weights, f"{name}.{key}", path) for key, _ in module.named_parameters()}
    if isinstance(module, nn.Linear):
        bias = own["bias"].unpack(dtype) if "bias" in own else None
        model.set_submodule(name, PackedLinear(own["weight"], bias, dtype))
    elif isinstance(module, nn.Embedding):
        model.set_submodule(name, PackedEmbedding(own["weight"], dtype))
    else:
        for key, packed in own.items():
            setattr(module, key, nn.Parameter(packed.unpack(dtype), requires_grad=False))


def _find(weights: Mapping[str, Packed], name: str, path: Path) -> Packed:
    if name not in weights:
        raise RenderError(
            "the model file is not complete",
            path=path,
            why=f"it has no tensor for {name}",
            fix="Download it again",
        )
    return weights[name]
