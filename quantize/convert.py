"""Convert a FLUX.1 or a T5 encoder to a GGUF of any file type, in bounded memory.

    plan(source, target, file_type)   headers only: types, order, places, every refusal
    run(plan, workers=n)              header first, then row chunks over n threads, then publish

run() is a generator: it works while it is iterated and yields the progress. When it is closed,
raises or is interrupted, nothing is left under the target's name, nor beside it.

Tensor data are ggml's, bit for bit. It shows nothing and knows no clock: rates and bars are the
caller's.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from quantize import kernel
from quantize.errors import Problem, QuantizeError
from quantize.part_file import part_of
from quantize.plan import ConversionPlan, TensorPlan, plan
from quantize.row_chunk import Chunk, ChunkConverter, ChunkReader, Scratch, chunks
from quantize.write_behind import WriteBehind

__all__ = ["ConversionPlan", "Progress", "TensorPlan", "plan", "run"]

_AHEAD = 2  # chunks in hand per worker: one in work, one ready


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a conversion is; `tensor` is the one whose chunk was finished last."""

    tensor: str
    weights_done: int
    weights_total: int
    bytes_written: int
    bytes_total: int


def run(plan: ConversionPlan, *, workers: int, force: bool = False) -> Generator[Progress]:
    """Make the target, yielding after each chunk; the file exists when the iteration has ended.

    Args:
        plan: what to make.
        workers: threads that convert at the same time, at least 1.
        force: replace a target that exists.

    Raises:
        QuantizeError: the target exists (kind TARGET_EXISTS), no room, a bad weight, no ggml.
        ModelError: the source shrank since it was planned.
    """
    check_target(plan.target, plan.files, force)
    kernels = {kind: kernel.find(kind) for kind in {tensor.type for tensor in plan.tensors}}
    with disk_errors_told(plan.target), part_of(plan.target, plan.total_bytes) as target_fd:
        os.pwrite(target_fd, plan.header, 0)
        with opened(plan.files) as fds:
            converter = ChunkConverter(ChunkReader(plan.files, fds), target_fd, kernels)
            with closing(_converted(plan, converter, workers)) as done:
                yield from _progress(plan, done, WriteBehind(target_fd))


@contextmanager
def disk_errors_told(target: Path) -> Iterator[None]:
    """Turn an OSError of a conversion into a QuantizeError."""
    try:
        yield
    except OSError as error:
        raise QuantizeError(
            Problem.DISK,
            "the conversion stopped",
            path=Path(error.filename) if error.filename else target,
            why=error.strerror or str(error),
            fix="Make sure that the source can be read and the target's folder written",
        ) from error


@contextmanager
def opened(files: Iterable[Path]) -> Iterator[list[int]]:
    """Keep all files of a source open for reading; yields their descriptors, in order."""
    with ExitStack() as stack:
        yield [stack.enter_context(path.open("rb", buffering=0)).fileno() for path in files]


def check_target(target: Path, files: Iterable[Path], force: bool) -> None:
    """Make sure that a target may be written, which is made from `files`.

    Raises:
        QuantizeError: it is one of them, or a folder; or it exists, and `force` is not set.
    """
    if target.is_dir() or (target.exists() and any(map(target.samefile, files))):
        raise QuantizeError(
            Problem.BAD_SOURCE, "the target is the source, or a folder", path=target
        )
    if target.exists() and not force:
        raise QuantizeError(
            Problem.TARGET_EXISTS,
            "the target exists and is kept",
            path=target,
            fix="Use --force to make it again",
        )


def _converted(plan: ConversionPlan, converter: ChunkConverter, workers: int) -> Generator[Chunk]:
    """Convert all chunks, yielding them in file order, so that the first bad weight is told."""
    largest = max((chunk.weights for chunk in chunks(plan)), default=0)
    free: SimpleQueue[Scratch] = SimpleQueue()
    for _ in range(workers):
        free.put(Scratch(largest))

    def work(chunk: Chunk) -> None:
        scratch = free.get()
        try:
            converter.convert(chunk, scratch)
        finally:
            free.put(scratch)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="quantize")
    try:
        pending: deque[tuple[Chunk, Future[None]]] = deque()
        for chunk in chunks(plan):
            pending.append((chunk, pool.submit(work, chunk)))
            if len(pending) == _AHEAD * workers:
                yield _finished(pending)
        while pending:
            yield _finished(pending)
    finally:
        # Wait for the chunks in work: they write into a file that is about to be closed.
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(pending: deque[tuple[Chunk, Future[None]]]) -> Chunk:
    chunk, future = pending.popleft()
    future.result()
    return chunk


def _progress(
    plan: ConversionPlan, done: Iterable[Chunk], behind: WriteBehind
) -> Iterator[Progress]:
    weights, written, total = 0, len(plan.header), plan.weights
    for chunk in done:
        weights += chunk.weights
        written += chunk.target_span[1]
        behind.written(sum(chunk.target_span))
        yield Progress(chunk.tensor.name, weights, total, written, plan.total_bytes)
