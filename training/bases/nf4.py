"""Bitsandbytes' NF4 in the place of packed layers: 4 bits a weight, of an FP16 or BF16 file.

The usual base of LoRA training on small cards (QLoRA, arXiv 2305.14314). Its rounding is not that
of the file that will render, which is why it is the second choice here. Bitsandbytes is loaded only
for it.
"""

from typing import Any

import torch
from torch import nn

from host.packed import PackedLinear
from training.errors import TrainingError


def pack(model: nn.Module, device: torch.device) -> None:
    """Repack every linear layer of the blocks, one at a time, in place.

    Raises:
        TrainingError: bitsandbytes is not there.
    """
    linear, params = _bitsandbytes()
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, PackedLinear) or "transformer_blocks." not in name:
            continue
        packed = linear(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=layer.dtype,
            quant_type="nf4",
        )
        weight = layer.unpacked().contiguous()
        packed.weight = params(weight, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        model.set_submodule(name, packed.to(device))


def _bitsandbytes() -> tuple[Any, Any]:
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError as error:
        raise TrainingError(
            "the base nf4 needs bitsandbytes",
            why=str(error),
            fix="Install it (pip install bitsandbytes==0.50.2), or use --backend gguf",
        ) from error
    return Linear4bit, Params4bit
