"""Batches as tensors: latents and captions out of the cache, with some captions left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from host.flux import Prompts
from training import latent_cache
from training.encoding import Shown
from training.latent_cache import LatentCache, Words
from training.randomness import stream

_KEPT = 512  # files of the cache that stay in memory: 2 GB of FLUX.1's captions


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures of one size with their captions.

    Attributes:
        latents: as the unet works on them, (batch, 16, height / 8, width / 8).
        context: (batch, tokens, width).
        pooled: (batch, width).
    """

    latents: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor

    def prompts(self, guidance: float, dtype: torch.dtype) -> Prompts:
        """Return what the unet is told."""
        told = torch.full((len(self.pooled),), guidance, device=self.pooled.device)
        return Prompts(self.context.to(dtype), self.pooled.to(dtype), told)

    def to(self, device: torch.device) -> "Examples":
        """Return the same on a device."""
        return Examples(*(one.to(device) for one in (self.latents, self.context, self.pooled)))


def of(cache: LatentCache, batch: Sequence[Shown], dropout: float, seed: int, at: int) -> Examples:
    """Return a batch; each caption is empty with a probability of ``dropout``.

    Args:
        cache: holds all of it, and the empty caption.
        batch: of one bucket.
        dropout: 0 to 1.
        seed: of what is left out.
        at: the batch's number.
    """
    unsaid = stream(seed, "dropout", at).random(len(batch)) < dropout
    texts = ["" if empty else one.item.caption for one, empty in zip(batch, unsaid, strict=True)]
    files = [cache.picture(one.item.sha256, one.bucket, mirrored=one.mirrored) for one in batch]
    context, pooled = stacked([_words(cache.caption(text)) for text in texts])
    return Examples(torch.stack([_latent(file) for file in files]), context, pooled)


def stacked(words: Sequence[Words]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return captions as one batch; zeros fill up those shorter than the longest."""
    contexts = [one.context for one in words]
    context = torch.nn.utils.rnn.pad_sequence(contexts, batch_first=True)
    return context, torch.stack([one.pooled for one in words])


@lru_cache(_KEPT)
def _words(path: Path) -> Words:
    return latent_cache.read_words(path)


@lru_cache(_KEPT)
def _latent(path: Path) -> torch.Tensor:
    return latent_cache.read(path)["latent"]
