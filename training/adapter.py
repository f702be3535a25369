"""The LoRA that is trained: peft's layers on the frozen base, in float32 whatever the base is.

alpha is the rank, so the scale is 1 and no reader can get it wrong (reference: kohya's default
alpha of 1 at rank 16 is a scale of 1/16 that some readers ignore).
"""

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import nn

from training.bases.base import Base
from training.recipe import Targets

_BLOCK = r".*transformer_blocks\.\d+\."
_ATTENTION = r"attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)"
TARGETS = {
    Targets.ATTENTION: f"{_BLOCK}{_ATTENTION}",
    Targets.ALL: rf"{_BLOCK}({_ATTENTION}|ff.*\.(proj|2)|proj_mlp|proj_out)",
}
"""Names of diffusers modules. Never the modulation, nor the last layers' (ComfyUI stores their
halves the other way round)."""


def put_on(base: Base, rank: int, targets: Targets, seed: int) -> dict[str, nn.Parameter]:
    """Put a fresh LoRA on a base and return its parameters by name, in the model's order."""
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=TARGETS[targets], init_lora_weights=True
    )
    # Drawn on the CPU, so that the same seed begins with the same LoRA on every machine.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.unet.transformer.add_adapter(config)
    for name, value in base.unet.transformer.named_parameters():
        if "lora_" in name:
            value.data = value.data.to(base.device, torch.float32)
    return parameters(base)


def parameters(base: Base) -> dict[str, nn.Parameter]:
    """Return what is trained, by name."""
    named = base.unet.transformer.named_parameters()
    return {name: value for name, value in named if value.requires_grad}


def tensors(base: Base) -> dict[str, torch.Tensor]:
    """Return the LoRA in the names that both ComfyUI and diffusers load, float32 on the CPU."""
    state = get_peft_model_state_dict(base.unet.transformer)
    return {f"transformer.{name}": value.detach().float().cpu() for name, value in state.items()}
