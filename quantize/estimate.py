"""What a conversion will take on this machine: time, memory, disk. Measured, not looked up.

One chunk of each kind (tensor type, source dtype) is read from the source and converted as it will
be, into a file that has no name. From that follow the processor's seconds; the disk's follow from
a look at the source. Whichever is longer is the estimate, since the two overlap.

The target's folder is only asked for room. The clocks are arguments.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.tensor_types import TensorType
from quantize import convert, disk_speed, kernel
from quantize.convert import ConversionPlan
from quantize.disk_speed import Clock
from quantize.row_chunk import Chunk, ChunkConverter, ChunkReader, Scratch, chunks

_TRIES = 5

Kind = tuple[TensorType, str]  # tensor type, and dtype of the source


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a conversion will take.

    Attributes:
        seconds: in all, as long as nothing else runs.
        processor_seconds: of all cores together.
        read_speed: of the source, bytes a second.
        memory: bytes at the highest.
        free: bytes of room where the target will be.
    """

    seconds: float
    processor_seconds: float
    read_speed: float
    memory: int
    free: int


def estimate(
    plan: ConversionPlan, *, workers: int, clock: Clock, processor_clock: Clock
) -> Estimate:
    """Measure and reckon.

    Args:
        plan: what to reckon.
        workers: how many threads it will have.
        clock: seconds, the wall's.
        processor_clock: seconds of this thread on a processor, which a busy machine does not
            stretch.

    Raises:
        QuantizeError: a weight of the pieces that were tried is not usable.
        ModelError: the source ended early.
        OSError: it cannot be read.
    """
    largest, weights = _kinds(plan)
    scratch = Scratch(max((chunk.weights for chunk in largest.values()), default=0))
    rates = _seconds_per_weight(plan, largest, scratch, processor_clock)
    processor = sum(weights[kind] * rates[kind] for kind in weights)
    speed = min(disk_speed.read_speed(path, clock) for path in plan.files)
    return Estimate(
        seconds=max(processor / workers, plan.source_bytes / speed),
        processor_seconds=processor,
        read_speed=speed,
        memory=_resident() + (workers - 1) * scratch.nbytes,
        free=shutil.disk_usage(disk_speed.existing_folder(plan.target)).free,
    )


def _kinds(plan: ConversionPlan) -> tuple[Mapping[Kind, Chunk], Mapping[Kind, int]]:
    """Of each kind the largest chunk, and how many weights there are."""
    largest: dict[Kind, Chunk] = {}
    weights: dict[Kind, int] = {}
    for chunk in chunks(plan):
        kind = chunk.tensor.type, chunk.part.info.dtype
        weights[kind] = weights.get(kind, 0) + chunk.weights
        if kind not in largest or chunk.weights > largest[kind].weights:
            largest[kind] = chunk
    return largest, weights


def _seconds_per_weight(
    plan: ConversionPlan, largest: Mapping[Kind, Chunk], scratch: Scratch, clock: Clock
) -> Mapping[Kind, float]:
    kernels = {kind: kernel.find(kind) for kind, _ in largest}
    seconds: dict[Kind, float] = {}
    with tempfile.TemporaryFile() as nowhere, convert.opened(plan.files) as fds:
        converter = ChunkConverter(ChunkReader(plan.files, fds), nowhere.fileno(), kernels)
        for kind, chunk in largest.items():
            converter.convert(chunk, scratch)  # compiles
            tries = []
            for _ in range(_TRIES):
                started = clock()
                converter.convert(chunk, scratch)
                tries.append(clock() - started)
            seconds[kind] = min(tries) / chunk.weights
    return seconds


def _resident() -> int:
    """Bytes of this process's memory now, with everything that a conversion loads."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
