r"""How one chunk of a layer that LoRAs change is done, and what it leaves behind for the proof.

    pread -> + delta -> kernel -> pwrite
                  \        |
                   error <- unpack  ->  what the LoRA's own directions see of it

The sum of weight and delta stays in float32 on its way into the kernel: no detour by way of F16 or
BF16, which would round a small delta away before it is packed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.tensor_types import TensorType
from quantize import error_view, subspace, thin_product
from quantize.error_view import ErrorView, Seen
from quantize.errors import Problem, QuantizeError
from quantize.kernel import Bytes, Kernel
from quantize.kernels.bad_weight import BadWeightError
from quantize.lora_delta import Piece
from quantize.row_chunk import Chunk, ChunkReader, Scratch, write_at
from quantize.subspace import Subspace
from quantize.thin_product import ThinProduct


@dataclass(frozen=True, slots=True)
class Facet:
    """A piece of a layer's change, ready to be added and to be looked for.

    Attributes:
        start_row: the tensor's first row that it changes.
        rows: how many it changes.
        product: the change.
        space: its own space.
        view: on an error, along that space's directions.
    """

    start_row: int
    rows: int
    product: ThinProduct
    space: Subspace
    view: ErrorView


def facet(piece: Piece) -> Facet:
    """Prepare a piece."""
    product = thin_product.of(piece.up, piece.down)
    space = subspace.of(piece.up, piece.down)
    return Facet(piece.start_row, piece.rows, product, space, error_view.of(space.directions))


class BakeScratch:
    """The buffers of one worker, for chunks of at most `weights`, filled up to whole blocks."""

    def __init__(self, weights: int) -> None:
        self.plain = Scratch(weights)
        self.sums = thin_product.aligned(weights)


class ChunkBaker:
    """Does chunks of changed layers. Safe to call from several threads.

    Args:
        reader: gives the weights.
        target_fd: open for writing.
        kernels: one for every type.
    """

    def __init__(
        self, reader: ChunkReader, target_fd: int, kernels: Mapping[TensorType, Kernel]
    ) -> None:
        self._reader = reader
        self._target_fd = target_fd
        self._kernels = kernels

    def bake(self, chunk: Chunk, facet: Facet, scratch: BakeScratch) -> Seen:
        """Read, add, pack, write, and look at one chunk, all of whose rows the facet changes.

        Raises:
            QuantizeError: a weight or a sum is not finite, or too large for the type.
            ModelError: the source ended early.
            OSError: a disk failed.
        """
        raw = self._reader.raw(chunk, scratch.plain)
        start = chunk.part.start_row + chunk.start_row - facet.start_row
        rows = start, start + chunk.rows
        part = chunk.part
        # The whole buffer: vector code reads on to the end of its last block of rows.
        facet.product.add(scratch.plain.raw, part.info.dtype, part.scale, rows, scratch.sums)
        packed = self._pack(chunk, raw, scratch)
        write_at(self._target_fd, chunk.target_span[0], packed.data)
        return facet.view.see(chunk.tensor.type, packed, scratch.sums, chunk.rows)

    def _pack(self, chunk: Chunk, raw: Bytes, scratch: BakeScratch) -> Bytes:
        packed = scratch.plain.packed[: chunk.target_span[1]]
        sums = scratch.sums[: chunk.weights].view(np.uint8)
        try:
            self._kernels[chunk.tensor.type].pack(sums, "F32", *chunk.shape, packed)
        except BadWeightError as error:
            raise self._bad_sum(chunk, raw, scratch, error) from error
        return packed

    def _bad_sum(
        self, chunk: Chunk, raw: Bytes, scratch: BakeScratch, error: BadWeightError
    ) -> QuantizeError:
        own = self._reader.scaled(chunk, raw, scratch.plain)[error.index]
        if not np.isfinite(own):
            kind = "NaN" if np.isnan(own) else "infinity"
            return self._reader.bad_weight(chunk, error.index, f"holds {kind}")
        row, column = divmod(error.index, chunk.part.width)
        place = [chunk.part.start_row + chunk.start_row + row, column]
        return QuantizeError(
            Problem.BAD_WEIGHT,
            f"with the LoRA, {chunk.tensor.name} holds {error.what} at {place}",
            fix="Use a lower strength, or another LoRA",
        )
