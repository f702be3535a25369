"""Prepares a picture of which a part is to be drawn anew (ComfyUI's VAEEncodeForInpaint)."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from host.errors import RenderError
from host.images import Pixels, multiple_inside
from host.picture_files import Mask

GREY = 0.5
"""What the VAE sees where something new is to come."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture to encode, and where it is to be drawn.

    Attributes:
        pixels: float32, shape (batch, height, width, 3), grey where it will be drawn.
        noise_mask: 1 where it will be drawn, shape (masks, 1, height, width).
    """

    pixels: Pixels
    noise_mask: torch.Tensor


def prepare(pixels: Pixels, mask: Mask, grow: int, multiple: int) -> Prepared:
    """Grey out what the mask covers.

    Args:
        pixels: float32, shape (batch, height, width, 3).
        mask: 1 for what is to be drawn; any size, one or as many as there are pictures.
        grow: by how many pixels the noise mask reaches further than the grey, to hide the seam.
        multiple: the picture is cut around its centre to a multiple of this, as the VAE needs it.

    Raises:
        RenderError: there are other numbers of masks and pictures.
    """
    _check(len(pixels), len(mask))
    height, width = pixels.shape[1:3]
    covered = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(mask))[:, None], size=(height, width), mode="bilinear"
    )
    rows, columns = (multiple_inside(side, multiple) for side in (height, width))
    pixels, covered = pixels[:, rows, columns], covered[:, :, rows, columns].round()
    kept = 1 - covered[:, 0, :, :, None].numpy()
    drawn = _grown(covered, grow)[:, :, : pixels.shape[1], : pixels.shape[2]]
    return Prepared((pixels - np.float32(GREY)) * kept + np.float32(GREY), drawn.round())


def _grown(covered: torch.Tensor, grow: int) -> torch.Tensor:
    if grow == 0:
        return covered
    kernel = torch.ones(1, 1, grow, grow)
    padding = ceil((grow - 1) / 2)
    return torch.nn.functional.conv2d(covered, kernel, padding=padding).clamp(0, 1)


def _check(pictures: int, masks: int) -> None:
    if masks not in (1, pictures):
        raise RenderError(
            f"there are {masks} masks for {pictures} pictures",
            fix="Give one mask, or one for each picture",
        )
