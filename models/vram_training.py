"""What training a LoRA on a FLUX.1 takes of a card: an estimate, part by part.

The base stays frozen, packed as in its file. What grows with the LoRA is kept in float32 (weights,
gradients, Adam's two moments); what grows with the picture are the blocks' inputs, kept for the
way back (gradient checkpointing), and what one block keeps while it is computed again. Without
checkpointing the whole model would be kept unpacked, 24 GB, so that is not reckoned with.

All but two figures follow from shapes. RECOMPUTED and CONTEXT are estimates, set so that the sums
are those of published runs (an NF4 base, rank 4, 512x768: 9 GB; huggingface/blog, flux-qlora.md).
"""

from dataclasses import dataclass
from math import prod

from models.flux import FluxShape, diffusers_pieces, tensor_shapes

FLOAT, HALF = 4, 2  # bytes
ADAM = 2  # moments of each weight
RECOMPUTED = 178  # bytes for each token and channel that one block keeps; estimate
CONTEXT = 500_000_000  # bytes of the CUDA context; estimate
RANK = 16


@dataclass(frozen=True, slots=True)
class Training:
    """The parts, in bytes."""

    base: int
    lora: int
    optimiser: int
    boundaries: int
    recomputed: int
    unpacked: int
    context: int = CONTEXT

    @property
    def total(self) -> int:
        """All of it."""
        return (
            self.base
            + self.lora
            + self.optimiser
            + self.boundaries
            + self.recomputed
            + self.unpacked
            + self.context
        )


def training(shape: FluxShape, base: int, tokens: int, rank: int = RANK) -> Training:
    """Reckon with one picture at a time.

    Args:
        shape: the base's sizes.
        base: bytes of its weights as they are kept on the card.
        tokens: of the picture and its text.
        rank: of the LoRA.
    """
    weights = rank * lora_width(shape)
    blocks = shape.double_blocks + shape.single_blocks
    return Training(
        base=base,
        lora=2 * FLOAT * weights,  # with its gradients
        optimiser=ADAM * FLOAT * weights,
        boundaries=blocks * tokens * shape.hidden * HALF,
        recomputed=RECOMPUTED * tokens * shape.hidden,
        unpacked=HALF * _largest_block(shape),
    )


def lora_width(shape: FluxShape) -> int:
    """Inputs and outputs of all layers that the LoRA is on; times the rank, its weights."""
    sizes = tensor_shapes(shape)
    return sum(
        piece.rows + sizes[piece.tensor][1]
        for name, piece in diffusers_pieces(shape).items()
        if name.endswith(".weight") and _is_target(name)
    )


def _is_target(name: str) -> bool:
    """Tell whether the layer is of a block, and neither a norm nor a modulation."""
    return "transformer_blocks." in name and ".norm" not in name


def _largest_block(shape: FluxShape) -> int:
    """Weights of the largest block."""
    blocks: dict[str, int] = {}
    for name, size in tensor_shapes(shape).items():
        kind, _, rest = name.partition("_blocks.")
        if rest:
            block = f"{kind}.{rest.partition('.')[0]}"
            blocks[block] = blocks.get(block, 0) + prod(size)
    return max(blocks.values())
