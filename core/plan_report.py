"""What ``director.py plan`` says of a prompt file, as text or as one JSON object a line."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.request import Request
from core.estimate import Estimate
from core.wish import PromptError

SHOWN = 20  # images of a file, unless all are asked for
MOST_HOSTS = 3  # whose times are told


@dataclass(frozen=True, slots=True)
class Plan:
    """What one file will give.

    Attributes:
        path: of the file.
        requests: every image, in order.
        priority: the file's.
        seeds_open: some seeds are drawn when it is dropped; those here are examples.
        estimates: how long it takes on each host with a history.
        notes: what could not be known.
    """

    path: Path
    requests: tuple[Request, ...]
    priority: int
    seeds_open: bool
    estimates: tuple[Estimate, ...]
    notes: tuple[str, ...]


def tell(plan: Plan, shown: int | None, as_json: bool) -> None:
    """Print a plan; ``shown`` images of it, or all."""
    if as_json:
        print(json.dumps(_event(plan)))
        return
    console = Console(soft_wrap=False, highlight=False)
    console.print(Text(_heading(plan)))
    for line in _grids(plan.requests):
        console.print(Text(f"  grid     {line}"))
    console.print(_table(plan.requests[:shown]))
    if shown is not None and len(plan.requests) > shown:
        console.print(f"... and {len(plan.requests) - shown} more (--all shows them)")
    for line in (*_times(plan), *_notes(plan)):
        console.print(Text(line))


def complain(path: Path, error: Exception, as_json: bool) -> None:
    """Print why a file cannot be used."""
    line = error.line if isinstance(error, PromptError) else 0
    if as_json:
        print(json.dumps({"event": "error", "file": str(path), "line": line, "why": str(error)}))
    else:
        print(f"director: {_sayable(str(error))}", file=sys.stderr)


def _sayable(text: str) -> str:
    """Replace what no terminal shows: the bytes of a file name that is not UTF-8."""
    return text.encode(errors="replace").decode()


def duration(seconds: float) -> str:
    """Write a time as people say it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _heading(plan: Plan) -> str:
    pictures = sum(request.batch for request in plan.requests)
    images = f"{len(plan.requests)} image" + "s"[: len(plan.requests) != 1]
    if pictures != len(plan.requests):
        images = f"{len(plan.requests)} jobs, {pictures} images"
    priority = f", priority {plan.priority}" if plan.priority else ""
    return _sayable(f"{plan.path}: {images}{priority}")


def _table(requests: Sequence[Request]) -> Table:
    gridded = any(request.cell for request in requests)
    table = Table("#", "prompt", "seed", "size", "steps", "LoRA", box=None, padding=(0, 2, 0, 0))
    if gridded:
        table.add_column("cell")
    if any(map(_rest, requests)):
        table.add_column("also")
    for number, request in enumerate(requests, start=1):
        cells = [*_row(number, request), *([_cell(request)] if gridded else []), _rest(request)]
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table


def _row(number: int, request: Request) -> list[str]:
    loras = ", ".join(f"{lora.file} {lora.strength:g}" for lora in request.loras)
    size = f"{request.width}x{request.height}"
    seed = str(request.seed) if "seed" in request.asked else "drawn"
    return [str(number), request.prompt, seed, size, str(request.steps), loras or "none"]


def _cell(request: Request) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in request.cell)


def _rest(request: Request) -> str:
    """Return what is not as usual and has no column."""
    told = {
        "pair": request.pair,
        "workflow": request.workflow if request.workflow != "txt2img" else "",
        "sampler": request.sampler,
        "scheduler": request.scheduler,
        "denoise": "" if request.denoise is None else f"{request.denoise:g}",
        "batch": str(request.batch) if request.batch > 1 else "",
        "image": request.image.name if request.image else "",
        "negative": request.negative,
        **{name: str(value) for name, value in request.slots},
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)


def _grids(requests: Sequence[Request]) -> Iterator[str]:
    """Yield the layout of each kind of grid: axes with their values, columns first."""
    layouts: dict[tuple[str, ...], list[dict[str, None]]] = {}
    for request in requests:
        if request.cell:
            names = tuple(axis for axis, _ in request.cell)
            axes = layouts.setdefault(names, [{} for _ in names])
            for values, (_, value) in zip(axes, request.cell, strict=True):
                values[value] = None
    for names, axes in layouts.items():
        places = ["columns", "rows", *["sheets"] * len(names)]
        yield "; ".join(
            f"{place}: {name} {', '.join(values)}"
            for place, name, values in zip(places, names, axes, strict=False)
        )


def _times(plan: Plan) -> Iterator[str]:
    if not plan.estimates:
        yield "  time     unknown: nothing was rendered with this model yet"
    for one in plan.estimates[:MOST_HOSTS]:
        jobs = f"{one.jobs} earlier job" + "s"[: one.jobs != 1]
        yield f"  time     about {duration(one.seconds)} on {one.host} (by {jobs})"


def _notes(plan: Plan) -> Iterator[str]:
    if plan.seeds_open:
        drawn = any(request.template for request in plan.requests)
        also = ", and the variants by them: the prompts are examples" if drawn else ""
        yield f"  note     seeds are drawn when the file is dropped{also}; seed: N fixes them"
    for note in plan.notes:
        yield f"  note     {note}"


def _event(plan: Plan) -> dict[str, Any]:
    return {
        "event": "plan",
        "file": str(plan.path),
        "images": sum(request.batch for request in plan.requests),
        "jobs": len(plan.requests),
        "priority": plan.priority,
        "seeds_drawn_later": plan.seeds_open,
        "estimates": [asdict(one) for one in plan.estimates],
        "notes": list(plan.notes),
        "requests": [asdict(request) for request in plan.requests],
    }
