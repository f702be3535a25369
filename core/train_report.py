"""What ``director.py train`` prints: the values of a training, how it stands, how it ended."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core import training_advice, training_config, training_process, training_view
from core.training_config import Origin
from core.training_record import PHASES, State, Training
from core.training_setup import Setup, Wanted
from core.training_view import Tail, View
from training.run_folder import RunFolder

_MARKS = {State.DONE: "green", State.FAILED: "bold red", State.STOPPED: "yellow"}
_COLUMNS = 2  # of the table of values
_TOLD = 5  # lines of a log for a worker that is gone


def config(setup: Setup, wanted: Wanted, training: Training) -> None:
    """Print every value that the training uses, and where it comes from."""
    console, plan = _console(), setup.plan
    for name, told in (
        ("training", f"{plan.name}, a {plan.preset}, on {training.place}"),
        ("pictures", str(setup.assets.pictures)),
        ("trigger", f"{plan.trigger} ({'flag' if wanted.trigger else 'the name'})"),
        ("base", f"{setup.assets.unet}, {plan.backend}"),
        ("drawn by", str(setup.edge)),
        ("run", str(training.folder)),
    ):
        _line(console, name, told)
    values = training_config.values(plan, wanted.changed, is_micro=setup.is_micro)
    listed = [
        f"{one.name} {one.told}" + (f" ({one.origin})" if one.origin is not Origin.PRESET else "")
        for one in values
    ]
    _line(console, "recipe", f"preset {plan.preset}; what is from elsewhere says so")
    table = Table.grid(padding=(0, 2))
    for row in _rows(listed, _COLUMNS):
        table.add_row("", *map(Text, row))
    console.print(table)
    for note in training_advice.notes(setup, wanted.place):
        _line(console, "note", note)


def leaving(training: Training) -> None:
    """Say that it goes on without us."""
    name = training.name
    print(
        f"The training goes on: director.py train status {name}, train logs {name} -f, "
        f"train stop {name}"
    )


def ended(training: Training) -> None:
    """Say how it ended and what is next."""
    console = _console()
    lora = RunFolder(training.folder).lora(training.name)
    if training.state is State.DONE:
        _line(console, "LoRA", str(lora))
        _line(console, "sheet", training.sheet or "none")
    else:
        reason = f": {training.told}" if training.told else ""
        what = f"{training.name} {training_view.headline(training, at_work=True)}{reason}"
        _say(console, what, _MARKS.get(training.state, ""))
    _say(console, training_view.how_to_go_on(training))


def gone(training: Training) -> None:
    """Say that a worker died, and with which words."""
    console = _console()
    log = training.folder / training_process.LOG
    _say(console, f"The worker of {training.name} is gone ({training.phase}); {log} ends:")
    try:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TOLD:]:
            _say(console, f"  {line}")
    except OSError as error:
        _say(console, f"  {error}")
    _say(console, training_view.how_to_go_on(training))


def one(training: Training, tail: Tail, at_work: bool) -> None:
    """Print how one training stands."""
    console = _console()
    console.print(panel(training, tail.view, at_work))
    if not at_work or training.state is not State.WORKING:
        _say(console, training_view.how_to_go_on(training))


def several(seen: Sequence[tuple[Training, Tail, bool]]) -> None:
    """Print a line for each training."""
    console = _console()
    if not seen:
        console.print("no trainings")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("name", "id", "on", "state", "progress", "begun"):
        table.add_column(name, no_wrap=name != "progress")
    for training, tail, at_work in seen:
        begun = time.strftime("%F %R", time.localtime(training.created))
        state = Text(training_view.headline(training, at_work), _MARKS.get(training.state, ""))
        told = training_view.steps_line(tail.view)
        table.add_row(Text(training.name), training.id, training.place, state, Text(told), begun)
    console.print(table)


def panel(training: Training, view: View, at_work: bool) -> RenderableType:
    """Draw how a training stands."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=8)
    table.add_column(ratio=1)
    headline = training_view.headline(training, at_work)
    table.add_row("training", Text(f"{training.name}  {training.id} on {training.place}"))
    table.add_row("state", Text(headline, style=_MARKS.get(training.state, "")))
    table.add_row("phases", _phases(training))
    if told := training_view.steps_line(view):
        table.add_row("trainer", Text(told))
    if view.steps:
        table.add_row("", ProgressBar(total=1.0, completed=view.share, width=40))
    if drawn := training_view.curve(view.losses):
        table.add_row("loss", Text(drawn))
    for path in training_view.samples(training, view):
        table.add_row("sample", Text(str(path), overflow="fold"))
    if training.told:
        table.add_row("", Text(training.told))
    if training.sheet:
        table.add_row("sheet", Text(training.sheet, overflow="fold"))
    table.add_row("folder", Text(str(training.folder), overflow="fold"))
    return table


def _phases(training: Training) -> Text:
    """Write the phases in their order: those behind it, the one it is at, those to come."""
    order, text = PHASES[training.place], Text()
    here = order.index(training.phase)
    for number, phase in enumerate(order):
        is_over = number < here or training.state is State.DONE
        style = "green" if is_over else "bold" if number == here else "dim"
        mark = "+" if is_over else ">" if number == here else "-"
        text.append(f"{mark}{phase} ", style=style)
    return text


def entry(training: Training, tail: Tail, at_work: bool) -> dict[str, Any]:
    """Return a training as ``status --json`` prints it."""
    view = tail.view
    lora = RunFolder(training.folder).lora(training.name)
    return {
        "id": training.id,
        "name": training.name,
        "on": training.place,
        "state": training.state,
        "phase": training.phase,
        "at_work": at_work,
        "told": training.told,
        "stage": view.stage,
        "step": view.step,
        "steps": view.steps,
        "loss": view.loss,
        "seconds_per_step": view.seconds,
        "seconds_left": view.seconds_left,
        "vram": view.vram,
        "samples": [str(training.folder / name) for name in view.samples],
        "folder": str(training.folder),
        "lora": str(lora) if lora.is_file() else "",
        "sheet": training.sheet,
        "slug": training.slug,
        "version": training.version,
        "created": training.created,
        "ended": training.ended,
    }


def _rows(told: Sequence[str], columns: int) -> Iterable[Sequence[str]]:
    """Lay texts out in columns, read downwards."""
    high = -(-len(told) // columns)
    padded = [*told, *[""] * (high * columns - len(told))]
    return [padded[row::high] for row in range(high)]


def _line(console: Console, name: str, told: str) -> None:
    _say(console, f"{name:<10}{told}")


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line as it is: no markup, and paths are not broken."""
    console.print(Text(line, style=style), soft_wrap=True)


def _console() -> Console:
    return Console(highlight=False)
