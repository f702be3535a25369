"""A graphics card's memory: how much of it is there for weights.

Never run in this project's tests, which have no card; what can be reckoned without one is
(:func:`room`).
"""

import torch

from host import residency
from host.flux import Unet
from host.values import PIXELS_PER_LATENT, Latent
from models import vram_needs
from models.vram_needs import Picture


class Card:
    """A CUDA device, of which at most `limit` bytes are used; None: all."""

    def __init__(self, device: torch.device, limit: int | None) -> None:
        self.device = device
        total = torch.cuda.mem_get_info(device)[1]
        self.limit = total if limit is None else min(limit, total)
        # Beyond it torch raises its own OutOfMemoryError, even where the card has more.
        torch.cuda.set_per_process_memory_fraction(self.limit / total, device)

    def free(self) -> int:
        """Return the bytes that tensors may still take, within the limit."""
        used, cached = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        return min(torch.cuda.mem_get_info(self.device)[0] + cached - used, self.limit - used)


def room(free: int, resident: int, needed: int) -> int:
    """Return the bytes that a model's weights may take.

    Args:
        free: bytes that nobody has.
        resident: bytes that the model's weights have already.
        needed: bytes for what is to be computed next.
    """
    return max(0, free + resident - needed)


def computing(unet: Unet, latent: Latent) -> int:
    """Return the bytes that one call of the unet takes beside its packed weights."""
    wanted = vram_needs.attention_bytes(_picture(latent), unet.shape)
    return wanted + residency.unpacking(unet.transformer)


def decoding(latent: Latent) -> int:
    """Return the bytes that decoding one picture takes, as ComfyUI reckons it."""
    return vram_needs.decoding(_picture(latent))


def _picture(latent: Latent) -> Picture:
    batch, _, height, width = latent.samples.shape
    return Picture(width * PIXELS_PER_LATENT, height * PIXELS_PER_LATENT, batch)
