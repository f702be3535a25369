"""How far the weights of a GGUF file are from those of its source, tensor by tensor.

The error of a tensor is relative and quadratic: the length of (packed - source), divided by the
length of the source. 0 is the same, 1 as bad as if all weights were zero, and wrong weights give
1.4. Both sides are read in row chunks, so memory does not depend on the model; the packed side is
unpacked by the gguf package, and so by code that had no part in packing it.

It judges nothing but weights; quantize/structure.py looks at the file itself.
"""

import math
import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np

from models import safetensors_file
from models.errors import ModelError
from models.gguf_file import GgufFile
from models.tensor_types import FileType, TensorType
from quantize import convert
from quantize.convert import ConversionPlan
from quantize.decode import Floats
from quantize.errors import Problem, QuantizeError
from quantize.row_chunk import Chunk, ChunkReader, Scratch, chunks

OTHER_WEIGHTS = 0.5  # beyond it, no type explains the error: these are not the source's weights


@dataclass(frozen=True, slots=True)
class TensorError:
    """How far one tensor is from its source.

    Attributes:
        name: the tensor's.
        type: how it is packed.
        weights: how many were compared.
        squares: the sum of the source's squares.
        error_squares: the sum of the differences' squares.
    """

    name: str
    type: TensorType
    weights: int
    squares: float
    error_squares: float

    @property
    def error(self) -> float:
        """The relative RMS error; infinite where the file holds no number, or only it is not 0."""
        if not math.isfinite(self.error_squares):
            return math.inf
        if self.squares:
            return math.sqrt(self.error_squares / self.squares)
        return math.inf if self.error_squares else 0.0


def worst(errors: Iterable[TensorError], count: int = 10) -> list[TensorError]:
    """The tensors with the largest errors, largest first."""
    return sorted(errors, key=lambda one: one.error, reverse=True)[:count]


def overall(errors: Iterable[TensorError]) -> float:
    """The relative RMS error of all tensors together."""
    every = list(errors)
    return TensorError(
        "all",
        TensorType.F32,
        sum(one.weights for one in every),
        sum(one.squares for one in every),
        sum(one.error_squares for one in every),
    ).error


def compare(
    header: GgufFile, source: Path, *, workers: int, sample: float = 1.0
) -> Generator[TensorError]:
    """Compare all tensors with those they were made from, in the file's order.

    Args:
        header: of the file.
        source: what quantize was given.
        workers: threads.
        sample: which share of each tensor to read, 0 to 1; the first rows always.

    Raises:
        QuantizeError: the two have different tensors, or a weight of the source is not finite.
        ModelError: one of them is damaged.
    """
    plan = _plan(header, source)
    with convert.opened([*plan.files, header.path]) as fds:
        reader = ChunkReader(plan.files, fds[:-1])
        chosen = list(_sampled(plan, sample))
        largest = max((chunk.weights for chunk in chosen), default=0)
        scratches = [Scratch(largest) for _ in range(workers)]

        def work(chunk: Chunk) -> tuple[float, float]:
            scratch = scratches.pop()
            try:
                return _squares(chunk, reader, header.path, fds[-1], scratch)
            finally:
                scratches.append(scratch)

        pool = ThreadPoolExecutor(workers, thread_name_prefix="verify")
        try:
            yield from _by_tensor(chosen, pool.map(work, chosen))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _plan(header: GgufFile, source: Path) -> ConversionPlan:
    """The conversion that should have given the file, with the places and types that it has."""
    plan = convert.plan(source, header.path, _file_type(header))
    made, wanted = header.shapes, {tensor.name: tensor.shape for tensor in plan.tensors}
    different = [name for name in {**made, **wanted} if made.get(name) != wanted.get(name)]
    if different:
        raise QuantizeError(
            Problem.BAD_SOURCE,
            "the file and the source have different tensors",
            path=header.path,
            why=f"{len(different)} differ, such as {different[0]}",
            fix="Name the source that the file was made from",
        )
    by_name = {tensor.name: tensor for tensor in plan.tensors}
    tensors = tuple(
        replace(
            by_name[t.name],
            stored=TensorType.F32,  # compared with the source itself: nothing is rounded first
            type=t.type,
            offset=t.offset,
            nbytes=t.nbytes,
        )
        for t in header.tensors
    )
    return replace(plan, tensors=tensors)


def _file_type(header: GgufFile) -> FileType:
    """The file's own, or any: the types that it gives are replaced by the file's."""
    kind = header.metadata.get("general.file_type")
    return next((known for known in FileType if known == kind), FileType.F16)


def _sampled(plan: ConversionPlan, sample: float) -> Iterator[Chunk]:
    """The first chunk of each tensor, and then so many that their share is as wished."""
    seen: Mapping[str, list[int]] = defaultdict(lambda: [0])
    for chunk in chunks(plan):
        number = seen[chunk.tensor.name][0]
        seen[chunk.tensor.name][0] += 1
        if number == 0 or math.floor((number + 1) * sample) > math.floor(number * sample):
            yield chunk


def _by_tensor(
    chosen: Iterable[Chunk], sums: Iterable[tuple[float, float]]
) -> Iterator[TensorError]:
    """Add up the chunks of each tensor, which follow one another."""
    current: TensorError | None = None
    for chunk, (squares, differences) in zip(chosen, sums, strict=True):
        tensor = chunk.tensor
        if current is None or current.name != tensor.name:
            if current is not None:
                yield current
            current = TensorError(tensor.name, tensor.type, 0, 0.0, 0.0)
        current = replace(
            current,
            weights=current.weights + chunk.weights,
            squares=current.squares + squares,
            error_squares=current.error_squares + differences,
        )
    if current is not None:
        yield current


def _squares(
    chunk: Chunk, reader: ChunkReader, path: Path, fd: int, scratch: Scratch
) -> tuple[float, float]:
    """The sums of the source's squares and of the differences' squares."""
    truth = reader.rows(chunk, reader.raw(chunk, scratch), scratch)
    packed = _unpacked(chunk, path, fd, scratch)
    squares = float(np.einsum("ij,ij->", truth, truth, dtype=np.float64))
    np.subtract(packed, truth, out=truth)
    return squares, float(np.einsum("ij,ij->", truth, truth, dtype=np.float64))


def _unpacked(chunk: Chunk, path: Path, fd: int, scratch: Scratch) -> Floats:
    offset, nbytes = chunk.target_span
    packed = scratch.packed[:nbytes]
    try:
        safetensors_file.read_into(fd, offset, packed.data)
    except ModelError as error:
        raise error.about(path) from error
    os.posix_fadvise(fd, offset, nbytes, os.POSIX_FADV_DONTNEED)
    kind = gguf.GGMLQuantizationType(int(chunk.tensor.type))
    with np.errstate(all="ignore"):  # a scale that is no number shows in the sum
        rows: Floats = gguf.quants.dequantize(packed.reshape(chunk.shape[0], -1), kind)
    return rows.reshape(chunk.shape)
