"""Small pictures of a latent that is not finished yet.

A linear map from 16 latent channels to three colours is enough to see what is coming. It is fitted
to the VAE at hand: colour patches go through its encoder, and least squares finds the map back. No
numbers of somebody else's VAE are built in, so the previews are right for any.
"""

import io
from dataclasses import dataclass

import torch
from PIL import Image

from host.messages import ImageFormat
from host.node_types import Picture
from host.vae import LoadedVae
from host.values import LATENT_CHANNELS, PIXELS_PER_LATENT

MAX_SIDE = 512
QUALITY = 80

_PATCHES = 12
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Projection:
    """The map: colours (0 to 1) = latent channels @ matrix + offset."""

    matrix: torch.Tensor
    offset: torch.Tensor

    def jpeg(self, latent: torch.Tensor) -> Picture:
        """Return the first picture of a batch of model-space latents (batch, channels, h, w)."""
        channels = latent[0].float().cpu().movedim(0, -1)
        colors = (channels @ self.matrix + self.offset).clamp(0, 1).mul(255).byte().numpy()
        height, width = colors.shape[:2]
        scale = min(PIXELS_PER_LATENT, MAX_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.fromarray(colors).resize(size, Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=QUALITY)
        return Picture(buffer.getvalue(), ImageFormat.JPEG)


def plain() -> Projection:
    """Return a map for when no VAE is loaded yet: each colour the mean of some channels."""
    matrix = torch.zeros(LATENT_CHANNELS, 3)
    for channel in range(LATENT_CHANNELS):
        matrix[channel, channel % 3] = 0.1
    return Projection(matrix, torch.full((3,), 0.5))


def fit(vae: LoadedVae) -> Projection:
    """Return the map that fits this VAE best on colour patches."""
    side = _PATCHES * PIXELS_PER_LATENT
    generator = torch.Generator("cpu").manual_seed(0)
    patches = torch.rand(1, 3, _PATCHES, _PATCHES, generator=generator)
    picture = torch.nn.functional.interpolate(patches, (side, side), mode="nearest")
    encoded = vae.model.encode((picture * 2 - 1).to(vae.model.device)).latent_dist.mode()
    latent = ((encoded - vae.shift) * vae.scale).float().cpu()
    inputs = latent[0].flatten(1).T
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    wanted = patches[0].flatten(1).T.double()
    # Ridge regression: a VAE with random weights must not give a wild map.
    square = inputs.T @ inputs + _RIDGE * len(inputs) * torch.eye(inputs.shape[1]).double()
    solved = torch.linalg.solve(square, inputs.T @ wanted).float()
    return Projection(solved[:-1], solved[-1])
