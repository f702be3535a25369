"""Row chunks: the unit of work of a conversion, and how one of them is done.

A chunk is whole rows of one part of a tensor, about half a million weights: some 3 MB of buffers
for each worker, so that memory stays under 200 MB on 16 cores, whatever the model. Half as many
weights take 4 % longer, since each chunk costs Python about 60 us; more are no faster. Each is
independent: it knows its bytes in the source's file and in the target.

    pread -> kernel (from the source's own bytes; it finds NaN and infinity) -> pwrite

Only scaled weights (FP8) and those that are stored as they are become float32 here.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import safetensors_file
from models.errors import ModelError
from models.tensor_types import TensorType, byte_size
from quantize import decode
from quantize.errors import Problem, QuantizeError
from quantize.kernel import Bytes, Kernel, Rows
from quantize.kernels.bad_weight import BadWeightError
from quantize.plan import ConversionPlan, TensorPlan
from quantize.source import Part

CHUNK_WEIGHTS = 1 << 19
_FOLIOS = 8 << 20  # bytes; a few times the largest folio of a page cache


@dataclass(frozen=True, slots=True)
class Chunk:
    """`rows` rows of a tensor's part, from the part's `start_row`."""

    tensor: TensorPlan
    part: Part
    start_row: int
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and their width, as a kernel sees them; a vector is one row."""
        width = self.part.width
        return (self.rows, width) if width > 1 else (1, self.rows)

    @property
    def weights(self) -> int:
        """Weights in the chunk."""
        return self.rows * self.part.width

    @property
    def source_span(self) -> tuple[int, int]:
        """First byte and number of bytes in the source's file."""
        size = self.part.row_bytes
        first = self.part.source_row + self.start_row
        return self.part.info.offset + first * size, self.rows * size

    @property
    def target_span(self) -> tuple[int, int]:
        """First byte and number of bytes in the target file."""
        kind, width = self.tensor.type, self.part.width
        before = byte_size((self.part.start_row + self.start_row, width), kind)
        return self.tensor.offset + before, byte_size(self.shape, kind)

    @property
    def unchanged(self) -> bool:
        """Whether the source's bytes are already the target's."""
        return self.part.info.dtype == self.tensor.type.name and self.part.scale == 1

    @property
    def rounded(self) -> bool:
        """Whether numbers finer than F16 go through F16 on their way."""
        finer = self.part.info.dtype == "F32" or self.part.scale != 1
        return finer and self.tensor.stored is TensorType.F16


def chunks(plan: ConversionPlan) -> Iterator[Chunk]:
    """All chunks, in the order in which they lie in the target."""
    for tensor in plan.tensors:
        for part in tensor.parts:
            yield from chunks_of(tensor, part)


def chunks_of(tensor: TensorPlan, part: Part, multiple: int = 1) -> Iterator[Chunk]:
    """The chunks of one part; their rows, but for the last one's, are a multiple of a number."""
    step = max(multiple, CHUNK_WEIGHTS // part.width // multiple * multiple)
    for start in range(0, part.rows, step):
        yield Chunk(tensor, part, start, min(step, part.rows - start))


class Scratch:
    """The buffers of one worker, large enough for chunks of `weights`, used again and again."""

    def __init__(self, weights: int) -> None:
        self.raw = np.empty(4 * weights, np.uint8)
        self.floats = np.empty(weights, np.float32)
        self.halves = np.empty(weights, np.float16)
        self.flags = np.empty(weights, np.bool_)
        self.packed = np.empty(4 * weights, np.uint8)

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        own = (self.raw, self.floats, self.halves, self.flags, self.packed)
        return sum(buffer.nbytes for buffer in own)


class ChunkReader:
    """Reads chunks from the open files of a source. Safe to call from several threads.

    Args:
        files: the paths, to be named in errors.
        fds: the same files, open for reading.
    """

    def __init__(self, files: Sequence[Path], fds: Sequence[int]) -> None:
        self._files = files
        self._fds = fds

    def raw(self, chunk: Chunk, scratch: Scratch) -> Bytes:
        """The chunk's stored bytes.

        Raises:
            ModelError: the source ended early.
            OSError: the disk failed.
        """
        offset, nbytes = chunk.source_span
        fd, raw = self._fds[chunk.part.file], scratch.raw[:nbytes]
        try:
            safetensors_file.read_into(fd, offset, raw.data)
        except ModelError as error:
            raise error.about(self._files[chunk.part.file]) from error
        _forget(fd, offset, nbytes)
        return raw

    def rows(self, chunk: Chunk, raw: Bytes, scratch: Scratch) -> Rows:
        """The chunk's weights as they are packed, all finite.

        Raises:
            QuantizeError: one is not.
        """
        count = chunk.weights
        weights, flags = self.scaled(chunk, raw, scratch), scratch.flags[:count]
        self._check(chunk, weights, flags, "infinity")
        if chunk.rounded:
            decode.round_to_half(weights, scratch.halves[:count])
            self._check(chunk, weights, flags, "a weight beyond F16's range")
        return weights.reshape(chunk.shape)

    def scaled(self, chunk: Chunk, raw: Bytes, scratch: Scratch) -> decode.Floats:
        """The chunk's weights as float32, times their scale; whatever they are."""
        weights = scratch.floats[: chunk.weights]
        decode.decode(raw, chunk.part.info.dtype, weights)
        if chunk.part.scale != 1:
            np.multiply(weights, np.float32(chunk.part.scale), out=weights)
        return weights

    def bad_weight(self, chunk: Chunk, index: int, what: str) -> QuantizeError:
        """The error about the chunk's weight number `index`, with its place in the source."""
        info, part = chunk.part.info, chunk.part
        place = np.unravel_index(
            (part.source_row + chunk.start_row) * part.width + index, info.shape
        )
        return QuantizeError(
            Problem.BAD_WEIGHT,
            "a weight of the source is not usable",
            path=self._files[part.file],
            why=f"{info.name} {what} at {[int(axis) for axis in place]}",
            fix="The model was damaged or merged badly: use another copy",
        )

    def _check(
        self, chunk: Chunk, weights: decode.Floats, flags: decode.Flags, infinite: str
    ) -> None:
        index = decode.first_bad(weights, flags)
        if index is not None:
            kind = "NaN" if np.isnan(weights[index]) else infinite
            raise self.bad_weight(chunk, index, f"holds {kind}")


class ChunkConverter:
    """Does chunks from a source to an open target. Safe to call from several threads.

    Args:
        reader: gives the weights.
        target_fd: open for writing.
        kernels: one for every type of the plan.
    """

    def __init__(
        self, reader: ChunkReader, target_fd: int, kernels: Mapping[TensorType, Kernel]
    ) -> None:
        self._reader = reader
        self._target_fd = target_fd
        self._kernels = kernels

    def convert(self, chunk: Chunk, scratch: Scratch) -> None:
        """Read, convert and write one chunk; no two threads may share a `scratch`.

        Raises:
            QuantizeError: a weight is not finite, or too large for the type.
            ModelError: the source ended early.
            OSError: a disk failed.
        """
        raw = self._reader.raw(chunk, scratch)
        if chunk.unchanged:
            self._reader.rows(chunk, raw, scratch)  # only to be looked at
        packed = raw if chunk.unchanged else self._pack(chunk, raw, scratch)
        write_at(self._target_fd, chunk.target_span[0], packed.data)

    def _pack(self, chunk: Chunk, raw: Bytes, scratch: Scratch) -> Bytes:
        packed, dtype = scratch.packed[: chunk.target_span[1]], chunk.part.info.dtype
        if chunk.part.scale != 1:
            raw, dtype = self._reader.scaled(chunk, raw, scratch).view(np.uint8), "F32"
        source = "F32 as F16" if chunk.rounded else dtype
        try:
            self._kernels[chunk.tensor.type].pack(raw, source, *chunk.shape, packed)
        except BadWeightError as error:
            what = f"holds {error.what}"
            raise self._reader.bad_weight(chunk, error.index, what) from error
        return packed


def _forget(fd: int, offset: int, nbytes: int) -> None:
    """Let the page cache give these bytes up, instead of everything else: nobody reads them again.

    The kernel keeps pages in folios of up to 2 MB, and only drops one that lies in the range as a
    whole. So the range begins well before, or each folio across two chunks would stay: nearly all.
    """
    first = max(0, offset - _FOLIOS)
    os.posix_fadvise(fd, first, offset + nbytes - first, os.POSIX_FADV_DONTNEED)


def write_at(fd: int, offset: int, data: memoryview) -> None:
    """Write all of `data`; no file position is shared or moved."""
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
