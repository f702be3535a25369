"""Whether a layer's LoRA is still there after packing, and which type it gets if it is not.

The verdict of a layer is made of the shares of its pieces (subspace.py). Below ENOUGH, the next
finer type of LADDER is tried, until one keeps enough or there is none. Pure: it packs and reads
nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from models.tensor_types import BLOCKS, TensorType, fits
from quantize.subspace import Share

ENOUGH = 0.97  # of the change; less is tried again in a finer type
LADDER = (
    TensorType.Q4_K,
    TensorType.Q5_K,
    TensorType.Q6_K,
    TensorType.Q8_0,
    TensorType.F16,
    TensorType.F32,
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A layer in one type: the share of the change that is kept, and the error in its space."""

    type: TensorType
    kept: float
    error: float


@dataclass(frozen=True, slots=True)
class LayerProof:
    """What became of one layer's change.

    Attributes:
        name: of the tensor.
        size: length of the change, relative to that of the rows it touches.
        noise: length of the whole error there, relative to the same.
        attempts: each type that was tried, the one in the file last.
        pinned: the user chose the type, so no other was tried.
    """

    name: str
    size: float
    noise: float
    attempts: tuple[Attempt, ...]
    pinned: bool = False

    @property
    def last(self) -> Attempt:
        """The one in the file."""
        return self.attempts[-1]

    @property
    def raised(self) -> bool:
        """Whether it has another type than was planned."""
        return len(self.attempts) > 1

    @property
    def enough(self) -> bool:
        """Whether so much is kept as should be."""
        return self.last.kept >= ENOUGH


def attempt(kind: TensorType, shares: Sequence[Share]) -> Attempt:
    """Judge a layer by its pieces."""
    change = sum(share.change for share in shares)
    if not change:  # too small for float64 to square: there is nothing to lose
        return Attempt(kind, 1.0, 0.0)
    common, error = sum(share.common for share in shares), sum(share.error for share in shares)
    return Attempt(kind, 1 + common / change, math.sqrt(error / change))


def finer(kind: TensorType, shape: Sequence[int]) -> TensorType | None:
    """The next type to be tried for a tensor, or None."""
    rungs = (rung for rung in LADDER if _fineness(rung) > _fineness(kind) and fits(shape, rung))
    return next(rungs, None)


def _fineness(kind: TensorType) -> tuple[float, bool]:
    """Bits of a weight. BF16 comes before F16: it rounds coarser in as many."""
    block = BLOCKS[kind]
    return 8 * block.nbytes / block.size, kind is not TensorType.BF16


def worst(proofs: Sequence[LayerProof], count: int | None = None) -> list[LayerProof]:
    """The layers that keep least, those first."""
    return sorted(proofs, key=lambda proof: (proof.last.kept, -proof.last.error))[:count]
