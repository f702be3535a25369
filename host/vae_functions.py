"""What the nodes of :mod:`host.vae_nodes` do: one call of the engine each."""

from __future__ import annotations

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
    return Result((context.engine.decode_tiled(vae, samples, cut, context.progress),))


def encode(context: Context, *, pixels: Pixels, vae: Vae) -> Result:
    """VAEEncode: pixels become a latent."""
    return Result((context.engine.encode_pixels(vae, pixels),))


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
    cut = tile_size, overlap
    return Result((context.engine.encode_tiled(vae, pixels, cut, context.progress),))


def encode_for_inpaint(
    context: Context, *, pixels: Pixels, vae: Vae, mask: Mask, grow_mask_by: int
) -> Result:
    """VAEEncodeForInpaint: the masked part is greyed out and marked to be drawn."""
    return Result((context.engine.encode_masked(vae, pixels, mask, grow_mask_by),))
