"""A random LoRA for the micro Flux, in diffusers/PEFT names.

That naming (`transformer.` + module + `lora_A`/`lora_B`) and no alpha keys, which means a scale of
1, is what both ComfyUI and diffusers load. The targets are the usual ones of FLUX.1 training: the
blocks' attention, feed-forward and projections, not their modulation.
"""

from models.flux import FluxShape, Piece, diffusers_pieces, tensor_shapes
from models.micro.draw import Draw, Weights

_STRENGTH = 0.5  # size of the change against the base's weights; a trained LoRA has a few per cent


def weights(shape: FluxShape, rank: int, seed: int) -> Weights:
    """Down (A) and up (B) of every target; both random, an untrained B would be zero."""
    draw, shapes = Draw(seed), tensor_shapes(shape)
    tensors: Weights = {}
    for module, piece in targets(shape).items():
        down, up = f"transformer.{module}.lora_A.weight", f"transformer.{module}.lora_B.weight"
        tensors[down] = draw.layer(down, (rank, shapes[piece.tensor][1]))
        tensors[up] = draw.layer(up, (piece.rows, rank), _STRENGTH)
    return tensors


def targets(shape: FluxShape) -> dict[str, Piece]:
    """Diffusers module name to the rows it stands for, of every linear layer that is adapted."""
    return {
        name.removesuffix(".weight"): piece
        for name, piece in diffusers_pieces(shape).items()
        if "transformer_blocks." in name and name.endswith(".weight") and ".norm" not in name
    }
