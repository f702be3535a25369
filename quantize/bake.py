"""Bake LoRAs into a FLUX.1 on its way to a GGUF, and prove of each layer that they are in it.

    plan = bake_plan.make(base, target, file_type, loras)
    run(plan, workers=n)        yields progress, and the proof of each layer

The base is streamed once, tensor by tensor. What is packed is unpacked again at once and compared
with what it should be. A layer that lost too much of its LoRA is done again where it began, in a
finer type; since the next layers have been started meanwhile, as if it had passed, they are too. So
places follow from what came before, and the header, whose length is known, is written last.

As in convert.run(), nothing is left under the target's name, nor beside it, when it is closed,
raises or is interrupted.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from queue import SimpleQueue

import numpy as np

from models.gguf_layout import padded
from models.tensor_types import TensorType, byte_size
from quantize import convert, kernel, layer_proof, row_chunk
from quantize.bake_plan import BakePlan
from quantize.baked_chunk import BakeScratch, ChunkBaker, Facet, facet
from quantize.blas_threads import one_blas_thread
from quantize.convert import Progress, opened
from quantize.error_view import Seen
from quantize.kernel import Kernel
from quantize.layer_proof import Attempt, LayerProof
from quantize.part_file import part_of
from quantize.plan import TensorPlan
from quantize.row_chunk import Chunk, ChunkConverter, ChunkReader, chunks_of
from quantize.source import Part
from quantize.subspace import Share
from quantize.thin_product import ROWS, Floats
from quantize.write_behind import WriteBehind

_AHEAD = 2  # chunks in hand per worker: one in work, one ready


def run(plan: BakePlan, *, workers: int, force: bool = False) -> Generator[Progress | LayerProof]:
    """Make the target, yielding after each chunk and layer; it exists when the iteration ended.

    Args:
        plan: what to make.
        workers: threads that work at the same time, at least 1.
        force: replace a target that exists.

    Raises:
        QuantizeError: the target exists, no room, a weight that cannot be packed.
        ModelError: a file changed since it was planned.
    """
    conversion = plan.conversion
    convert.check_target(conversion.target, plan.files, force)
    first = plan.layout(plan.record.types)
    with (
        one_blas_thread(),
        convert.disk_errors_told(conversion.target),
        part_of(conversion.target, first.total_bytes) as fd,
        opened(conversion.files) as fds,
    ):
        line = _Line(plan, len(first.header), ChunkReader(conversion.files, fds), fd, workers)
        behind = WriteBehind(fd)
        with closing(line.run()) as steps:
            for step in steps:
                if isinstance(step, Progress):
                    behind.written(step.bytes_written)
                yield step
        last = plan.layout(line.types, line.proofs)
        os.pwrite(fd, last.header, 0)
        os.ftruncate(fd, last.total_bytes)


@dataclass(slots=True)
class _Try:
    """A tensor on its way into one type."""

    number: int
    tensor: TensorPlan
    facets: tuple[Facet, ...]
    seen: list[Floats] = field(default_factory=list)
    done: list["Future[Seen | None]"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    """A chunk of a tensor, and which of its facets it lies in."""

    owner: _Try
    chunk: Chunk
    facet: int | None


_Verdict = tuple[Attempt, float, float]  # with the change's size and the noise


@dataclass(frozen=True, slots=True)
class _Begun:
    """A chunk that is waiting for a worker, in work or done."""

    chunk: Chunk
    future: "Future[Seen | None]"


_Waiting = _Begun | _Try  # a tensor comes after all of its chunks


class _Line:
    """Does all tensors, several chunks at a time.

    Attributes:
        types: each tensor's type, as far as is known.
        proofs: of the layers that are done.
    """

    def __init__(
        self, plan: BakePlan, data_start: int, reader: ChunkReader, fd: int, workers: int
    ) -> None:
        self._plan, self._start, self._workers = plan, data_start, workers
        self._tensors = plan.conversion.tensors
        self.types = dict(plan.record.types)
        self.proofs: list[LayerProof] = []
        self._kernels: dict[TensorType, Kernel] = {k: kernel.find(k) for k in self.types.values()}
        self._converter = ChunkConverter(reader, fd, self._kernels)
        self._baker = ChunkBaker(reader, fd, self._kernels)
        self._attempts: dict[str, tuple[Attempt, ...]] = {}
        self._facets: dict[int, Future[tuple[Facet, ...]]] = {}
        self._free: SimpleQueue[BakeScratch] = SimpleQueue()
        for _ in range(workers):
            self._free.put(BakeScratch(self._largest()))

    def _largest(self) -> int:
        """Weights of the largest chunk, with its rows filled up to whole blocks."""
        widths = {part.width for tensor in self._tensors for part in tensor.parts}
        return max(row_chunk.CHUNK_WEIGHTS, ROWS * max(widths, default=0))

    def run(self) -> Generator[Progress | LayerProof]:
        """Do everything."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="bake")
        waiting: deque[_Waiting] = deque()
        try:
            yield from self._run(waiting)
        finally:
            # Wait for the chunks in work: they write into a file that is about to be closed.
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, waiting: deque[_Waiting]) -> Generator[Progress | LayerProof]:
        jobs, size = self._jobs(0, self._start), self._total_bytes()
        done, total = 0, self._plan.conversion.weights
        while True:
            waiting.extend(islice(jobs, max(0, _AHEAD * self._workers - len(waiting))))
            if not waiting:
                return
            job = waiting.popleft()
            if isinstance(job, _Begun):
                job.future.result()
                done += job.chunk.weights
                end = sum(job.chunk.target_span)
                yield Progress(job.chunk.tensor.name, done, total, end, size)
            else:
                proof = self._judged(job, _verdict(job))
                if proof is None:
                    _forget(waiting)
                    size, total = self._total_bytes(), total + job.tensor.weights
                    jobs = self._jobs(job.number, job.tensor.offset)
                else:
                    yield proof

    def _total_bytes(self) -> int:
        sizes = (byte_size(t.shape, self.types[t.name]) for t in self._tensors)
        return self._start + sum(map(padded, sizes))

    # --- from tensors to work

    def _jobs(self, first: int, offset: int) -> Iterator[_Waiting]:
        """Submit everything from a tensor on, as it is asked for."""
        for number in range(first, len(self._tensors)):
            owner = self._begun(number, offset)
            for task in _tasks(owner):
                future = self._pool.submit(self._work, task)
                owner.done.append(future)
                yield _Begun(task.chunk, future)
            if owner.facets:
                yield owner
            offset += padded(owner.tensor.nbytes)

    def _begun(self, number: int, offset: int) -> _Try:
        tensor = self._tensors[number]
        kind = self.types[tensor.name]
        tensor = replace(tensor, type=kind, offset=offset, nbytes=byte_size(tensor.shape, kind))
        facets = self._prepared(number).result()
        if number + 1 < len(self._tensors):
            self._prepared(number + 1)
        for old in [known for known in self._facets if known < number - 1]:
            del self._facets[old]
        seen = [np.empty((f.rows, f.view.count), np.float32) for f in facets]
        return _Try(number, tensor, facets, seen)

    def _prepared(self, number: int) -> "Future[tuple[Facet, ...]]":
        """A tensor's facets, being made while the one before it is done."""
        if number not in self._facets:
            name = self._tensors[number].name
            self._facets[number] = self._pool.submit(self._make_facets, name)
        return self._facets[number]

    def _make_facets(self, name: str) -> tuple[Facet, ...]:
        return tuple(map(facet, self._plan.mix.pieces(name)))

    # --- in the workers

    def _work(self, task: _Task) -> Seen | None:
        scratch = self._free.get()
        try:
            if task.facet is None:
                self._converter.convert(task.chunk, scratch.plain)
                return None
            found = task.owner.facets[task.facet]
            seen = self._baker.bake(task.chunk, found, scratch)
            start = task.chunk.part.start_row + task.chunk.start_row - found.start_row
            task.owner.seen[task.facet][start : start + task.chunk.rows] = seen.rows
            return replace(seen, rows=seen.rows[:0])
        finally:
            self._free.put(scratch)

    # --- the verdict

    def _judged(self, owner: _Try, verdict: _Verdict) -> LayerProof | None:
        """The layer's proof; None if it is to be done again in another type."""
        name, (attempt, size, noise) = owner.tensor.name, verdict
        attempts = (*self._attempts.get(name, ()), attempt)
        pinned = name in self._plan.record.pinned
        proof = LayerProof(name, size, noise, attempts, pinned)
        finer = None if proof.enough or pinned else layer_proof.finer(*_kind(owner.tensor))
        if finer is None:
            self.proofs.append(proof)
            return proof
        self._attempts[name] = attempts
        self._kernels.setdefault(finer, kernel.find(finer))
        self.types[name] = finer
        return None


def _kind(tensor: TensorPlan) -> tuple[TensorType, tuple[int, ...]]:
    return tensor.type, tensor.shape


def _tasks(owner: _Try) -> Iterator[_Task]:
    """All chunks of a tensor, each inside one part of the source and inside or outside a facet."""
    starts = [f.start_row for f in owner.facets]
    edges = [*starts, *(f.start_row + f.rows for f in owner.facets)]
    for part in owner.tensor.parts:
        for piece in _cut(part, edges):
            inside = (n for n, f in enumerate(owner.facets) if _holds(f, piece))
            number = next(inside, None)
            for chunk in chunks_of(owner.tensor, piece, 1 if number is None else ROWS):
                yield _Task(owner, chunk, number)


def _holds(facet: Facet, part: Part) -> bool:
    return facet.start_row <= part.start_row < facet.start_row + facet.rows


def _cut(part: Part, edges: Iterable[int]) -> Iterator[Part]:
    """A part, cut at these rows of its tensor."""
    first, last = part.start_row, part.start_row + part.rows
    inside = sorted({first, last, *(edge for edge in edges if first < edge < last)})
    for start, stop in pairwise(inside):
        source_row = part.source_row + start - first
        yield replace(part, source_row=source_row, start_row=start, rows=stop - start)


def _verdict(owner: _Try) -> _Verdict:
    """Judge a layer, all of whose chunks are done."""
    found = [seen for future in owner.done if (seen := future.result()) is not None]
    shares = [f.space.share(seen) for f, seen in zip(owner.facets, owner.seen, strict=True)]
    squares = sum(seen.squares for seen in found) or 1.0
    noise = sum(seen.error_squares for seen in found)
    size = _change(shares) / squares
    attempt = layer_proof.attempt(owner.tensor.type, shares)
    return attempt, float(np.sqrt(size)), float(np.sqrt(noise / squares))


def _change(shares: Iterable[Share]) -> float:
    return sum(share.change for share in shares)


def _forget(waiting: deque[_Waiting]) -> None:
    """Give up what was begun too early; nothing of it is running afterwards."""
    while waiting:
        job = waiting.popleft()
        if isinstance(job, _Begun) and not job.future.cancel():
            job.future.exception()  # waits; what went wrong will go wrong again, in its turn
