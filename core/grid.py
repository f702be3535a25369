"""The grids among a prompt file's jobs: which there are, and one labelled sheet of them.

A job knows its cell (axes and values); which cells belong together follows from their order,
the order in which ``core.resolve`` lays them out: the first axis runs fastest. The first axis
becomes columns, the second rows, each combination of further ones a sheet of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from bridge.request import LoraChoice, Request
from core import axes, contact_sheet
from core.contact_sheet import Box, Sheet
from core.job import Job, State
from models import store

NOTE = "vulcan-grid"  # keyword under which a sheet names the claim it was made of
CellKey = tuple[tuple[str, str], ...]
_NEUTRAL: Mapping[str, Mapping[str, object]] = {
    "seed": {"seed": 0},
    "steps": {"steps": 0},
    "guidance": {"guidance": 0.0},
    "cfg": {"cfg": 0.0},
    "width": {"width": 0},
    "height": {"height": 0},
    "sampler": {"sampler": ""},
    "scheduler": {"scheduler": ""},
    "denoise": {"denoise": None},
    "lora": {"loras": (), "prompt": ""},  # the prompt too: it holds the LoRA's trigger word
    "prompt": {"prompt": "", "template": ""},
    "negative": {"negative": "", "cfg": 0.0},  # one without the other does nothing
    "workflow": {"workflow": ""},
}


@dataclass(frozen=True, slots=True)
class Grid:
    """The jobs of one grid.

    Attributes:
        axes: names, in the order of the file.
        jobs: by cell.
    """

    axes: tuple[str, ...]
    jobs: Mapping[CellKey, Job]

    def values(self, axis: int) -> tuple[str, ...]:
        """Return an axis's values in the order of the file."""
        return tuple(dict.fromkeys(cell[axis][1] for cell in self.jobs))


def grids(jobs: Sequence[Job]) -> list[Grid]:
    """Find the grids among the jobs of one file, in its order."""
    found: list[dict[CellKey, Job]] = []
    for job in sorted(jobs, key=lambda job: job.index):
        if not job.request.cell:
            continue
        if not found or not _belongs(job.request, found[-1]):
            found.append({})
        found[-1][job.request.cell] = job
    return [Grid(tuple(axis for axis, _ in next(iter(one))), one) for one in found]


def sheets(jobs: Sequence[Job]) -> list[Sheet]:
    """Lay the grids among a file's jobs out; empty when there are none."""
    return [sheet for grid in grids(jobs) for sheet in _sheets(grid)]


def save(folder: Path, jobs: Sequence[Job]) -> Path | None:
    """Draw the grids among a file's jobs; doing it again writes the same file again.

    Args:
        folder: of the pictures, made if missing.
        jobs: all jobs of one claim; those that gave no picture are empty boxes.

    Returns:
        ``<day>_<stem>_grid.png``, or ``None`` when the file asked for no grid.

    Raises:
        OSError: disk full, no permission.
    """
    laid_out = sheets(jobs)
    if not laid_out:
        return None
    path = _free(folder, jobs[0])
    folder.mkdir(parents=True, exist_ok=True)
    store.atomic_write(path, contact_sheet.draw_grids(laid_out, (NOTE, jobs[0].claim)))
    return path


def _belongs(request: Request, others: Mapping[CellKey, Job]) -> bool:
    """Tell whether a request is the next cell of this grid, and not the first of another."""
    first = next(iter(others.values())).request
    names = [axis for axis, _ in request.cell]
    if names != [axis for axis, _ in first.cell] or request.cell in others:
        return False
    # A slower axis has moved on, so every faster one has shown all its values.
    for place, pair in enumerate(request.cell):
        seen = {cell[place] for cell in others}
        slower = any(len({cell[n] for cell in others}) > 1 for n in range(place + 1, len(names)))
        if pair not in seen and slower:
            return False
    return _base(request, names) == _base(first, names)


def _base(request: Request, names: Sequence[str]) -> Request:
    """Return the request without what its grid varies."""
    neutral: dict[str, object] = {"cell": (), "asked": ()}
    for name in names:
        neutral |= _NEUTRAL.get(name, {})
        if name.startswith(axes.VARIABLE):
            neutral["prompt"] = ""
    plain: Request = replace(request, **neutral)  # type: ignore[arg-type]  # the table's values fit
    if axes.STRENGTH in names:
        plain = replace(plain, loras=tuple(LoraChoice(one.file, 0.0) for one in plain.loras))
    varied = {name.removeprefix(axes.SLOT) for name in names if name.startswith(axes.SLOT)}
    return replace(plain, slots=tuple(pair for pair in plain.slots if pair[0] not in varied))


def _sheets(grid: Grid) -> Iterator[Sheet]:
    columns = grid.values(0)
    rows = grid.values(1) if len(grid.axes) > 1 else ("",)
    further = dict.fromkeys(cell[2:] for cell in grid.jobs)
    for rest in further:
        boxes = [_box(grid, column, row, rest) for row in rows for column in columns]
        yield Sheet(
            title=_title(grid, rest),
            columns=tuple(f"{grid.axes[0]} {value}" for value in columns),
            rows=tuple(f"{grid.axes[1]} {value}" if len(grid.axes) > 1 else "" for value in rows),
            boxes=tuple(boxes),
            aspect=_aspect(grid),
        )


def _aspect(grid: Grid) -> float:
    requests = [job.request for job in grid.jobs.values()]
    return max(one.height for one in requests) / max(one.width for one in requests)


def _box(grid: Grid, column: str, row: str, rest: CellKey) -> Box:
    second = ((grid.axes[1], row),) if len(grid.axes) > 1 else ()
    job = grid.jobs.get(((grid.axes[0], column), *second, *rest))
    if job is None:
        return Box(None, "not made")
    if job.state is State.DONE and job.paths:
        return Box(job.paths[0])
    return Box(None, str(job.state))


def _title(grid: Grid, rest: CellKey) -> tuple[str, ...]:
    request = next(iter(grid.jobs.values())).request
    spoken = any(axis == "prompt" or axis.startswith(axes.VARIABLE) for axis in grid.axes)
    prompt = (request.template if "prompt" not in grid.axes else "") if spoken else request.prompt
    varied = ", ".join(f"{axis} {value}" for axis, value in rest)
    return tuple(line for line in (prompt, ", ".join(_fixed(request, grid.axes)), varied) if line)


def _fixed(request: Request, varied: Sequence[str]) -> Iterator[str]:
    """Yield the settings that all cells share, as a reader would look for them."""
    settings = {
        "seed": f"seed {request.seed}",
        "steps": f"{request.steps} steps",
        "guidance": f"guidance {request.guidance:g}",
        "cfg": f"cfg {request.cfg:g}" if request.cfg != 1 else "",
        "sampler": request.sampler,
        "scheduler": request.scheduler,
        "denoise": f"denoise {request.denoise:g}" if request.denoise is not None else "",
        "negative": f"negative: {request.negative}" if request.negative else "",
    }
    if not {"width", "height"} & set(varied):
        yield f"{request.width} x {request.height}"
    yield from (text for axis, text in settings.items() if text and axis not in varied)
    if not {"lora", axes.STRENGTH} & set(varied):
        yield from (f"{lora.file} {lora.strength:g}" for lora in request.loras)
    yield request.unet


def _free(folder: Path, job: Job) -> Path:
    """Return the sheet's name, which only a sheet of the same claim may have taken."""
    stem = f"{job.name.rpartition('_')[0]}_grid"
    path, attempt = folder / f"{stem}.png", 1
    while path.exists() and _claim_of(path) != job.claim:
        attempt += 1
        path = folder / f"{stem}~{attempt}.png"
    return path


def _claim_of(path: Path) -> str:
    try:
        with Image.open(path) as opened:
            return str(opened.info.get(NOTE, ""))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
