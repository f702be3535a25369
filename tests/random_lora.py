"""A random LoRA for a Flux of any shape, in diffusers' names, with no alpha: a scale of 1."""

import numpy as np

from models.flux import FluxShape, Piece, diffusers_pieces, tensor_shapes
from tests.model_files import Array

RANK = 8


def weights(shape: FluxShape) -> dict[str, Array]:
    """Down (A) and up (B) of every target."""
    stream, shapes = np.random.default_rng(0), tensor_shapes(shape)
    arrays: dict[str, Array] = {}
    for module, piece in targets(shape).items():
        sizes = {"A": (RANK, shapes[piece.tensor][1]), "B": (piece.rows, RANK)}
        for part, size in sizes.items():
            values = stream.standard_normal(size) * 0.05
            arrays[f"transformer.{module}.lora_{part}.weight"] = values.astype(np.float16)
    return arrays


def targets(shape: FluxShape) -> dict[str, Piece]:
    """Diffusers' module names to the rows they stand for: what FLUX.1 LoRAs usually adapt.

    That is the linear layers of the blocks, but not their modulation.
    """
    return {
        name.removesuffix(".weight"): piece
        for name, piece in diffusers_pieces(shape).items()
        if "transformer_blocks." in name and name.endswith(".weight") and ".norm" not in name
    }
