"""Draws latents with a base and what was trained on it so far: Euler steps, as a host does it."""

from collections.abc import Callable
from itertools import pairwise

import torch

from host import flux, schedules
from host.values import LATENT_CHANNELS, PIXELS_PER_LATENT
from training.bases.base import Base
from training.buckets import Bucket
from training.examples import Examples

GUIDANCE = flux.DEFAULT_GUIDANCE


@torch.no_grad()
def sample(
    base: Base,
    context: torch.Tensor,
    pooled: torch.Tensor,
    bucket: Bucket,
    steps: int,
    noise: torch.Generator,
    stopped: Callable[[], bool] = lambda: False,
) -> torch.Tensor | None:
    """Return latents as the unet works on them, (batch, 16, height / 8, width / 8).

    Args:
        base: the unet, with or without a LoRA.
        context: (batch, tokens, width).
        pooled: (batch, width).
        bucket: the pictures' size.
        steps: sampler steps.
        noise: the start; drawn on the CPU.
        stopped: asked before each step; if it says so, None is returned.
    """
    count, cells = (
        len(pooled),
        (bucket.height // PIXELS_PER_LATENT, bucket.width // PIXELS_PER_LATENT),
    )
    latent = torch.randn(count, LATENT_CHANNELS, *cells, generator=noise).to(base.device)
    prompts = Examples(latent, context, pooled).to(base.device).prompts(GUIDANCE, base.dtype)
    table = schedules.flux_table() if base.unet.shape.guidance else schedules.schnell_table()
    for here, there in pairwise(schedules.simple(table, steps)):
        if stopped():
            return None
        level = torch.full((count,), here, device=base.device)
        with base.autocast():
            latent = latent + flux.velocity(base.unet, latent, level, prompts) * (there - here)
    return latent.cpu()
