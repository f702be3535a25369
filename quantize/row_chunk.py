"""Row chunks: the unit of work of a conversion, and how one of them is done.

A chunk is whole rows of one tensor, about a million weights, so that memory depends on the number
of workers and not on the model. Chunks are independent: each knows its bytes in both files.

    pread -> float32 (rounded as the recipe says) -> check -> kernel -> pwrite
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import safetensors_file
from models.errors import ModelError
from models.tensor_types import TensorType, byte_size
from quantize import decode
from quantize.errors import Problem, QuantizeError
from quantize.kernel import Bytes, Kernel, Rows
from quantize.plan import ConversionPlan, TensorPlan

CHUNK_WEIGHTS = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """`rows` rows from `start_row` of a tensor, seen as a matrix."""

    tensor: TensorPlan
    start_row: int
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and their width."""
        return self.rows, self.tensor.shape[-1]

    @property
    def weights(self) -> int:
        """Weights in the chunk."""
        return self.rows * self.tensor.shape[-1]

    @property
    def first_weight(self) -> int:
        """How many weights of the tensor lie before the chunk."""
        return self.start_row * self.tensor.shape[-1]

    @property
    def source_span(self) -> tuple[int, int]:
        """First byte and number of bytes in the source file."""
        size = self.tensor.source.nbytes // self.tensor.weights
        return self.tensor.source.offset + self.first_weight * size, self.weights * size

    @property
    def target_span(self) -> tuple[int, int]:
        """First byte and number of bytes in the target file."""
        width, kind = self.tensor.shape[-1], self.tensor.type
        before = byte_size((self.start_row, width), kind)
        return self.tensor.offset + before, byte_size(self.shape, kind)


def chunks(plan: ConversionPlan) -> Iterator[Chunk]:
    """All chunks, in the order in which they lie in the files."""
    for tensor in plan.tensors:
        rows = tensor.weights // tensor.shape[-1]
        step = max(1, CHUNK_WEIGHTS // tensor.shape[-1])
        for start in range(0, rows, step):
            yield Chunk(tensor, start, min(step, rows - start))


class Scratch:
    """The buffers of one worker, large enough for chunks of `weights`, used again and again."""

    def __init__(self, weights: int) -> None:
        self.raw = np.empty(4 * weights, np.uint8)
        self.floats = np.empty(weights, np.float32)
        self.halves = np.empty(weights, np.float16)
        self.flags = np.empty(weights, np.bool_)
        self.packed = np.empty(4 * weights, np.uint8)


class ChunkConverter:
    """Does chunks between two open files. Safe to call from several threads, each with a Scratch.

    Args:
        source: the file behind `source_fd`, to be named in errors.
        source_fd: open for reading.
        target_fd: open for writing.
        kernels: one for every type of the plan.
    """

    def __init__(
        self, source: Path, source_fd: int, target_fd: int, kernels: Mapping[TensorType, Kernel]
    ) -> None:
        self._source = source
        self._source_fd = source_fd
        self._target_fd = target_fd
        self._kernels = kernels

    def convert(self, chunk: Chunk, scratch: Scratch) -> None:
        """Read, convert and write one chunk.

        Raises:
            QuantizeError: a weight is not finite, or too large for the type.
            ModelError: the source ended early.
            OSError: a disk failed.
        """
        raw = self._read(chunk, scratch)
        rows = self._rows(chunk, raw, scratch)
        unchanged = chunk.tensor.type.name == chunk.tensor.source.dtype
        packed = raw if unchanged else self._pack(chunk, rows, scratch)
        _write(self._target_fd, chunk.target_span[0], packed.data)

    def _read(self, chunk: Chunk, scratch: Scratch) -> Bytes:
        offset, nbytes = chunk.source_span
        raw = scratch.raw[:nbytes]
        try:
            safetensors_file.read_into(self._source_fd, offset, raw.data)
        except ModelError as error:
            raise error.about(self._source) from error
        # Read once and never again: let the page cache forget this instead of everything else.
        os.posix_fadvise(self._source_fd, offset, nbytes, os.POSIX_FADV_DONTNEED)
        return raw

    def _rows(self, chunk: Chunk, raw: Bytes, scratch: Scratch) -> Rows:
        """The chunk's weights as the kernel gets them, all finite."""
        source, count = chunk.tensor.source, chunk.weights
        weights, flags = scratch.floats[:count], scratch.flags[:count]
        decode.decode(raw, source.dtype, weights)
        self._check(chunk, weights, flags, "infinity")
        if source.dtype == "F32" and chunk.tensor.stored is TensorType.F16:
            decode.round_to_half(weights, scratch.halves[:count])
            self._check(chunk, weights, flags, "a weight beyond F16's range")
        return weights.reshape(chunk.shape)

    def _check(
        self, chunk: Chunk, weights: decode.Floats, flags: decode.Flags, infinite: str
    ) -> None:
        index = decode.first_bad(weights, flags)
        if index is not None:
            kind = "NaN" if np.isnan(weights[index]) else infinite
            raise self._bad_weight(chunk, index, f"holds {kind}")

    def _pack(self, chunk: Chunk, rows: Rows, scratch: Scratch) -> Bytes:
        packed = scratch.packed[: chunk.target_span[1]]
        try:
            self._kernels[chunk.tensor.type].quantise(rows, packed)
        except OverflowError as error:
            largest = int(np.abs(rows).argmax())
            what = f"holds {rows.flat[largest]:g}, too large for {chunk.tensor.type.name},"
            raise self._bad_weight(chunk, largest, what) from error
        return packed

    def _bad_weight(self, chunk: Chunk, index: int, what: str) -> QuantizeError:
        place = np.unravel_index(chunk.first_weight + index, chunk.tensor.shape)
        return QuantizeError(
            Problem.BAD_WEIGHT,
            "a weight of the source is not usable",
            path=self._source,
            why=f"{chunk.tensor.source.name} {what} at {[int(axis) for axis in place]}",
            fix="The model was damaged or merged badly: use another copy",
        )


def _write(fd: int, offset: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
