"""What the nodes of :mod:`host.vae_nodes` do: one call of the VAE each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from host.node_types import Context, Result
from host.values import Latent, Vae

if TYPE_CHECKING:
    from host.images import Pixels
    from host.picture_files import Mask


def decode(context: Context, *, samples: Latent, vae: Vae) -> Result:
    """VAEDecode: a latent becomes pixels."""
    return Result((context.engine.decode(vae, samples),))


def decode_tiled(
    context: Context,
    *,
    samples: Latent,
    vae: Vae,
    tile_size: int,
    overlap: int,
    temporal_size: int,
    temporal_overlap: int,
) -> Result:
    """VAEDecodeTiled: the same in tiles, of which at most a quarter overlaps."""
    del temporal_size, temporal_overlap  # for video
    cut = tile_size, min(overlap, tile_size // 4)
    return Result((context.engine.vae(vae).decode_tiled(samples, *cut, context.progress),))


def encode(context: Context, *, pixels: Pixels, vae: Vae) -> Result:
    """VAEEncode: pixels become a latent."""
    return Result((context.engine.vae(vae).encode(pixels),))


def encode_tiled(
    context: Context,
    *,
    pixels: Pixels,
    vae: Vae,
    tile_size: int,
    overlap: int,
    temporal_size: int,
    temporal_overlap: int,
) -> Result:
    """VAEEncodeTiled: the same in tiles."""
    del temporal_size, temporal_overlap  # for video
    opened = context.engine.vae(vae)
    return Result((opened.encode_tiled(pixels, tile_size, overlap, context.progress),))


def encode_for_inpaint(
    context: Context, *, pixels: Pixels, vae: Vae, mask: Mask, grow_mask_by: int
) -> Result:
    """VAEEncodeForInpaint: the masked part is greyed out and marked to be drawn."""
    from host.inpainting import prepare

    opened = context.engine.vae(vae)
    prepared = prepare(pixels, mask, grow_mask_by, opened.ratio)
    latent = opened.encode(prepared.pixels)
    return Result((replace(latent, noise_mask=prepared.noise_mask),))
