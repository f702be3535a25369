"""What the nodes of :mod:`host.latent_nodes` do. torch loads with the engine or the first one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from host.node_types import Context, Result
from host.values import PIXELS_PER_LATENT, Latent

if TYPE_CHECKING:
    from host.picture_files import Mask

SMALLEST = 64
"""Pixels below which LatentUpscale lets no side fall."""


def empty_latent(context: Context, *, width: int, height: int, batch_size: int) -> Result:
    """EmptySD3LatentImage, EmptyLatentImage: zeros to start from.

    ComfyUI gives 4 channels from the latter and widens them in the sampler; here both are 16 wide.
    """
    return Result((context.engine.empty_latent(width, height, batch_size),))


def upscale(
    context: Context, *, samples: Latent, upscale_method: str, width: int, height: int, crop: str
) -> Result:
    """LatentUpscale: to a size in pixels; a side of 0 follows from the other."""
    from host.resizing import resized_latent

    del context
    if width == 0 and height == 0:
        return Result((samples,))
    width, height = _sides(samples, width, height)
    sides = width // PIXELS_PER_LATENT, height // PIXELS_PER_LATENT
    scaled = resized_latent(samples.samples, *sides, upscale_method, crop)
    return Result((replace(samples, samples=scaled),))


def _sides(latent: Latent, width: int, height: int) -> tuple[int, int]:
    old_height, old_width = latent.samples.shape[-2:]
    if width == 0:
        height = max(SMALLEST, height)
        return max(SMALLEST, round(old_width * height / old_height)), height
    width = max(SMALLEST, width)
    return width, max(SMALLEST, height or round(old_height * width / old_width))


def upscale_by(
    context: Context, *, samples: Latent, upscale_method: str, scale_by: float
) -> Result:
    """LatentUpscaleBy: by a factor."""
    from host.resizing import resized_latent

    del context
    height, width = (round(side * scale_by) for side in samples.samples.shape[-2:])
    scaled = resized_latent(samples.samples, width, height, upscale_method)
    return Result((replace(samples, samples=scaled),))


def from_batch(context: Context, *, samples: Latent, batch_index: int, length: int) -> Result:
    """LatentFromBatch: some of a batch, each with the noise it would have had."""
    from host.latent_batches import part

    del context
    return Result((part(samples, batch_index, length),))


def repeat(context: Context, *, samples: Latent, amount: int) -> Result:
    """RepeatLatentBatch: the batch several times."""
    from host.latent_batches import repeated

    del context
    return Result((repeated(samples, amount),))


def set_noise_mask(context: Context, *, samples: Latent, mask: Mask) -> Result:
    """SetLatentNoiseMask: what the sampler may draw over."""
    from host.latent_batches import with_mask

    del context
    return Result((with_mask(samples, mask),))
