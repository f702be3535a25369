"""A tiny transformer of diffusers with a LoRA that diffusers itself loaded."""

from pathlib import Path

from diffusers import FluxPipeline, FluxTransformer2DModel

from tests.lora_kit import MINI


def with_lora(path: Path) -> FluxTransformer2DModel:
    """A random transformer of the shape MINI, and the file as an adapter on it."""
    model = FluxTransformer2DModel(
        in_channels=MINI.in_channels,
        out_channels=MINI.out_channels,
        num_layers=MINI.double_blocks,
        num_single_layers=MINI.single_blocks,
        attention_head_dim=MINI.head_dim,
        num_attention_heads=MINI.heads,
        joint_attention_dim=MINI.context,
        pooled_projection_dim=MINI.pooled,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    state, alphas, metadata = FluxPipeline.lora_state_dict(
        path, return_alphas=True, return_lora_metadata=True
    )
    model.load_lora_adapter(state, network_alphas=alphas, prefix="transformer", metadata=metadata)
    return model
