"""A tiny transformer of diffusers with a LoRA that diffusers itself loaded."""

from pathlib import Path

from diffusers import FluxPipeline, FluxTransformer2DModel

from models.flux import FluxShape
from tests.lora_kit import MINI


def with_lora(
    path: Path, shape: FluxShape = MINI, axes: tuple[int, int, int] = (4, 6, 6)
) -> FluxTransformer2DModel:
    """A random transformer of a shape, and the file as an adapter on it."""
    model = FluxTransformer2DModel(
        in_channels=shape.in_channels,
        out_channels=shape.out_channels,
        num_layers=shape.double_blocks,
        num_single_layers=shape.single_blocks,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.context,
        pooled_projection_dim=shape.pooled,
        guidance_embeds=True,
        axes_dims_rope=axes,
    )
    state, alphas, metadata = FluxPipeline.lora_state_dict(
        path, return_alphas=True, return_lora_metadata=True
    )
    model.load_lora_adapter(state, network_alphas=alphas, prefix="transformer", metadata=metadata)
    return model


def count_lora_layers(path: Path, shape: FluxShape) -> int:
    """How many modules of a full transformer diffusers puts the file's LoRA on."""
    modules = with_lora(path, shape, (16, 56, 56)).modules()
    return sum(hasattr(module, "lora_A") for module in modules)
