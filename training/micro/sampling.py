"""From captions to pictures while training: what the embedded host does, on networks in memory.

Only the plain case (8 Euler steps of the scheduler ``simple``, guidance embedded); the embedded
host stays the judge of a finished model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from models.micro import spec
from models.micro.picture import Pixels
from training.micro import pictures, text_stage
from training.micro.text_stage import Words

SHIFT = math.exp(1.15)
"""ComfyUI's shift of the levels towards noise, the same for every FLUX.1."""

STEPS = 8
GUIDANCE = 3.5
_LATENT = spec.SIDE // 8


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the VAE's latents lie: what the unet sees is (latent - shift) * scale."""

    shift: float
    scale: float


def levels(steps: int = STEPS) -> list[float]:
    """Noise levels to walk down, 1 to 0."""
    return [shifted(1 - step / steps) for step in range(steps)] + [0.0]


def shifted(time: float) -> float:
    """The noise level at a time from 0 (picture) to 1 (noise)."""
    return SHIFT * time / (1 + (SHIFT - 1) * time)


def patchify(latents: torch.Tensor) -> torch.Tensor:
    """(batch, c, 2 rows, 2 columns) to tokens (batch, rows x columns, c x 2 x 2)."""
    return torch.nn.functional.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpatchify(tokens: torch.Tensor) -> torch.Tensor:
    """Undo :func:`patchify` for square pictures."""
    side = math.isqrt(tokens.shape[1])
    squares = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    return torch.nn.functional.pixel_shuffle(squares, 2)


def velocity(
    unet: Any,
    tokens: torch.Tensor,
    level: torch.Tensor,
    context: torch.Tensor,
    pooled: torch.Tensor,
    guidance: torch.Tensor,
) -> torch.Tensor:
    """Noise minus picture, by one call: tokens (batch, count, 64), all else (batch, ...)."""
    side = math.isqrt(tokens.shape[1])
    ids = torch.zeros(side, side, 3, device=tokens.device)
    ids[..., 1] = torch.arange(side, device=tokens.device)[:, None]
    ids[..., 2] = torch.arange(side, device=tokens.device)[None, :]
    result: torch.Tensor = unet(
        hidden_states=tokens,
        encoder_hidden_states=context,
        pooled_projections=pooled,
        timestep=level,
        guidance=guidance,
        img_ids=ids.view(-1, 3),
        txt_ids=torch.zeros(context.shape[1], 3, device=tokens.device),
        return_dict=False,
    )[0]
    return result


@torch.no_grad()
def sample(
    unet: Any,
    context: torch.Tensor,
    pooled: torch.Tensor,
    noise: torch.Generator,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
) -> torch.Tensor:
    """Return latents as the unet sees them, (batch, 16, side, side)."""
    count, device = len(context), context.device
    start = torch.randn(count, 16, _LATENT, _LATENT, generator=noise)
    tokens = patchify(start).to(device)
    asked = torch.full((count,), guidance, device=device)
    walk = levels(steps)
    for here, there in pairwise(walk):
        level = torch.full((count,), here, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            direction = velocity(unet, tokens, level, context, pooled, asked)
        tokens = tokens + direction.float() * (there - here)
    return unpatchify(tokens)


@torch.no_grad()
def draw(
    networks: Any,
    scale: Scale,
    texts: Sequence[str],
    noise: torch.Generator,
    guidance: float = GUIDANCE,
) -> list[Pixels]:
    """Draw captions."""
    context, pooled = text_stage.encode(networks.t5, networks.clip, Words(), texts)
    latents = sample(networks.unet, context, pooled, noise, guidance)
    return decode(networks.vae, scale, latents)


@torch.no_grad()
def decode(vae: Any, scale: Scale, latents: torch.Tensor) -> list[Pixels]:
    """Pictures of latents as the unet sees them."""
    with torch.autocast(latents.device.type, torch.bfloat16):
        images = vae.decode(latents / scale.scale + scale.shift).sample
    return pictures.pixels(images)
