"""The demo's last sheet: a row for each prompt and seed, a column for each way to render them.

Says where a picture belongs by what it was made with, as its job's request has it, never by the
name or the time of anything; draws nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.contact_sheet import Box, Sheet
from core.job import Job, State


@dataclass(frozen=True, slots=True)
class Column:
    """A way to render.

    Attributes:
        label: what stands above it.
        unet: file name of the unet.
        lora: whether with a LoRA.
    """

    label: str
    unet: str
    lora: bool


def sheet(jobs: Sequence[Job], columns: Sequence[Column]) -> Sheet:
    """Lay jobs out; what was not made is a box that says why.

    Args:
        jobs: at least one; those that belong in no column are left out.
        columns: from left to right.
    """
    ordered = sorted(jobs, key=lambda job: job.index)
    rows = tuple(dict.fromkeys(_row(job) for job in ordered))
    places = {(_row(job), job.request.unet, bool(job.request.loras)): job for job in ordered}
    boxes = [_box(places.get((row, one.unet, one.lora))) for row in rows for one in columns]
    request = ordered[0].request
    return Sheet(
        title=(
            "each row: the same prompt and seed in every column",
            f"{request.width} x {request.height}, {request.steps} steps",
        ),
        columns=tuple(column.label for column in columns),
        rows=rows,
        boxes=tuple(boxes),
        aspect=request.height / request.width,
    )


def guide(rows: Sequence[str], word: str) -> Iterator[str]:
    """Say what to look for.

    Args:
        rows: labels of a sheet whose last column alone has the LoRA.
        word: what only the LoRA knows.
    """
    called = [number for number, row in enumerate(rows, start=1) if word in row.split()]
    plain = [number for number in range(1, len(rows) + 1) if number not in called]
    if plain:
        yield f"{_rows(plain)}: every column shows what is written at its left"
    if called:
        yield (
            f"{_rows(called)}: only the last column shows a volcano, purple with an orange cap: "
            f'that is what the LoRA\'s word "{word}" means, and the model by itself never learnt it'
        )


def _row(job: Job) -> str:
    return f"{job.request.prompt} (seed {job.request.seed})"


def _box(job: Job | None) -> Box:
    if job is None:
        return Box(None, "not made")
    if job.state is State.DONE and job.paths:
        return Box(job.paths[0])
    return Box(None, job.error or str(job.state))


def _rows(numbers: Sequence[int]) -> str:
    *first, last = numbers
    if len(first) > 1 and last - first[0] == len(first):
        return f"rows {first[0]} to {last}"
    return f"rows {', '.join(map(str, first))} and {last}" if first else f"row {last}"
