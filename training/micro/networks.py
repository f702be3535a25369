"""The four networks of the micro Flux, untrained, as the libraries that define them build them."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from models.micro import clip_tokenizer, spec, t5_tokenizer

# Under autocast, RMSNorm has no fused form for bfloat16 input and float32 weights, and says so.
warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")

FIRST_LOG_VARIANCE = -4.0

T5_NEARNESS = 3.0
"""Deviation of T5's first position biases. From the usual near-zero they would take thousands of
steps to grow large enough to tell a neighbour, and with it whose colour a colour is."""


def t5() -> Any:
    """The T5 encoder: (batch, tokens) of ids to (batch, tokens, width)."""
    sizes = spec.T5
    config = T5Config(
        vocab_size=len(t5_tokenizer.pieces()),
        d_model=sizes.width,
        d_kv=sizes.width // sizes.heads,
        d_ff=sizes.mlp,
        num_layers=sizes.layers,
        num_heads=sizes.heads,
        relative_attention_num_buckets=sizes.buckets,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        use_cache=False,
    )
    model = T5EncoderModel(config)
    for name, value in model.named_parameters():
        if name.endswith("relative_attention_bias.weight"):
            nn.init.normal_(value, std=T5_NEARNESS)
    return model


def clip() -> Any:
    """The CLIP text model: (batch, 77) of ids to a pooled output of (batch, width)."""
    sizes, words = spec.CLIP, clip_tokenizer.vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=sizes.width,
        intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.width // 64,
        max_position_embeddings=sizes.tokens,
        bos_token_id=words[clip_tokenizer.START],
        eos_token_id=words[clip_tokenizer.END],
        pad_token_id=words[clip_tokenizer.END],
    )
    return CLIPTextModel(config)


def vae() -> Any:
    """The VAE, its posterior narrow at first."""
    sizes = spec.VAE
    levels = len(sizes.channels)
    model = AutoencoderKL(
        block_out_channels=sizes.channels,
        layers_per_block=sizes.blocks,
        latent_channels=sizes.latent,
        norm_num_groups=sizes.norm_groups,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    nn.init.constant_(model.encoder.conv_out.bias[sizes.latent :].data, FIRST_LOG_VARIANCE)
    return model.to(memory_format=torch.channels_last)


def unet() -> Any:
    """The Flux; blocks start as the identity (adaLN-zero, Peebles and Xie 2023)."""
    shape = spec.FLUX
    model = FluxTransformer2DModel(
        num_layers=shape.double_blocks,
        num_single_layers=shape.single_blocks,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.context,
        pooled_projection_dim=shape.pooled,
        guidance_embeds=shape.guidance,
    )
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and (".norm" in name or name in _ZERO):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return model


_ZERO = ("norm_out.linear", "proj_out")


@dataclass(frozen=True, slots=True)
class Networks:
    """One of each."""

    t5: Any
    clip: Any
    vae: Any
    unet: Any


def make(seed: int) -> Networks:
    """All four, their first weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Networks(t5(), clip(), vae(), unet())
