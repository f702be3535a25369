"""Batches of latents, with their noise masks and whose noise they get, as ComfyUI counts it."""

from dataclasses import replace
from math import ceil

import numpy as np
import torch

from host.picture_files import Mask
from host.size_limit import check_room
from host.values import Latent


def part(latent: Latent, first: int, length: int) -> Latent:
    """Return ``length`` latents from ``first`` on, as far as there are any; at least one."""
    batch = len(latent.samples)
    first = min(batch - 1, first)
    some = slice(first, first + min(batch - first, length))
    mask = latent.noise_mask
    if mask is not None and len(mask) > 1:
        mask = mask.repeat(ceil(batch / len(mask)), 1, 1, 1)[:batch][some]
    index = latent.batch_index or tuple(range(batch))
    return replace(
        latent, samples=latent.samples[some].clone(), noise_mask=mask, batch_index=index[some]
    )


def repeated(latent: Latent, times: int) -> Latent:
    """Return the batch several times; each repetition counts its noise on from the last."""
    count = times * len(latent.samples)
    check_room(3 * times * latent.samples.nbytes, f"a batch of {count} latents")
    mask, index = latent.noise_mask, latent.batch_index
    if mask is not None and len(mask) > 1:
        mask = mask.repeat(times, 1, 1, 1)
    if index:
        stride = max(index) - min(index) + 1
        index = tuple(one + turn * stride for turn in range(times) for one in index)
    samples = latent.samples.repeat(times, 1, 1, 1)
    return replace(latent, samples=samples, noise_mask=mask, batch_index=index)


def with_mask(latent: Latent, mask: Mask) -> Latent:
    """Return the same latents with a noise mask (batch, height, width) in any size."""
    return replace(latent, noise_mask=torch.from_numpy(np.array(mask))[:, None])
