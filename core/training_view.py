"""How far a training is, read from what its trainer wrote, and how that is told in words.

Pure but for the reading, of which each look takes only what is new.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.status import duration
from core.training_record import Phase, State, Training
from training import progress
from training.progress import Event, Happened
from training.run_folder import RunFolder

_SHOWN_SAMPLES = 2
_LOSSES = 40  # the newest, for the little curve
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class View:
    """What a trainer told so far.

    Attributes:
        stage: of the trainer; empty before the first.
        step: done in it.
        steps: of so many; 0 if that is not known.
        loss: newest; 0 before there is one.
        seconds: of one step; 0 before that is known.
        vram: most bytes of the card's memory.
        samples: files, relative to the run's folder, the newest last.
        losses: the newest, oldest first.
        skipped: updates that were left out.
        note: what was told last.
        at: when the newest event happened, seconds since the epoch.
    """

    stage: str = ""
    step: int = 0
    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    vram: int = 0
    samples: tuple[str, ...] = ()
    losses: tuple[float, ...] = ()
    skipped: int = 0
    note: str = ""
    at: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the stage takes still; ``None`` while nobody can say."""
        if not (self.steps and self.seconds and self.step < self.steps):
            return None
        return (self.steps - self.step) * self.seconds

    @property
    def share(self) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0


def after(view: View, event: Event) -> View:
    """Return the view after one more event."""
    view = replace(view, at=max(view.at, event.at))
    if event.stage.value != view.stage:
        view = replace(view, stage=event.stage.value, step=0, steps=0, seconds=0.0)
    match event.event:
        case Happened.STAGE:
            return replace(view, step=event.step, steps=event.steps or view.steps)
        case Happened.STEP:
            return _stepped(view, event)
        case Happened.SKIP:
            return replace(view, skipped=view.skipped + 1)
        case Happened.SAMPLE:
            return replace(view, samples=(*view.samples, event.file))
        case Happened.NOTE | Happened.END:
            return replace(view, note=event.text or view.note)
        case Happened.CHECKPOINT:
            return view


def _stepped(view: View, event: Event) -> View:
    return replace(
        view,
        step=event.step,
        steps=event.steps or view.steps,
        loss=event.loss or view.loss,
        losses=(*view.losses, event.loss)[-_LOSSES:] if event.loss else view.losses,
        seconds=event.seconds or view.seconds,
        vram=max(view.vram, event.vram),
    )


class Tail:
    """The progress of one run, as it grows.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._read, self._file = RunFolder(folder).progress, 0, 0
        self.view = View()

    def look(self) -> list[Event]:
        """Read what is new, and return it; what was fetched anew from a cloud is read anew."""
        events = list(self._new())
        for event in events:
            self.view = after(self.view, event)
        return events

    def _new(self) -> Iterator[Event]:
        try:
            with self._path.open("rb") as file:
                self._begin_anew_if_replaced(os.fstat(file.fileno()))
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text.rpartition(b"\n")[0]  # the last line may be half-written
        self._read += len(whole) + bool(whole)
        for line in whole.decode("utf-8", errors="replace").splitlines():
            if event := progress.parse(line):
                yield event

    def _begin_anew_if_replaced(self, found: os.stat_result) -> None:
        if found.st_ino != self._file or found.st_size < self._read:
            self._read, self._file, self.view = 0, found.st_ino, View()


def headline(training: Training, at_work: bool) -> str:
    """Say in a line how a training stands."""
    match training.state:
        case State.WORKING if not at_work:
            return f"{training.phase}, but its worker is gone"
        case State.WORKING:
            return str(training.phase)
        case State.DONE:
            return "done"
        case _:
            return f"{training.state} while {training.phase}"


def steps_line(view: View) -> str:
    """Say how far the trainer is; empty before it said anything."""
    parts = [
        f"{view.stage} {view.step}/{view.steps}" if view.steps else view.stage,
        f"loss {view.loss:.4f}" if view.loss else "",
        f"{view.seconds:.2f} s a step" if view.seconds else "",
        f"{duration(left)} left" if (left := view.seconds_left) is not None else "",
        f"{view.vram / 1e9:.1f} GB of the card" if view.vram else "",
        f"{view.skipped} updates left out" if view.skipped else "",
    ]
    return ", ".join(part for part in parts if part)


def curve(losses: tuple[float, ...]) -> str:
    """Draw losses as bars, the newest at the right; empty for fewer than two."""
    if len(losses) < 2:
        return ""
    low, high = min(losses), max(losses)
    wide = (high - low) or 1.0
    return "".join(_BARS[round((one - low) / wide * (len(_BARS) - 1))] for one in losses)


def samples(training: Training, view: View) -> list[Path]:
    """Return the newest sample pictures."""
    return [training.folder / name for name in view.samples[-_SHOWN_SAMPLES:]]


def how_to_go_on(training: Training) -> str:
    """Say what to type next, for a training that does not run."""
    name = training.name
    match training.state:
        case State.DONE:
            return f"Use it: `pair: {name}` in a prompt file, or --pair {name}"
        case State.FAILED if training.phase is Phase.VALIDATING:
            return f"When that is mended: director.py train resume {name}"
        case _:
            return f"To go on: director.py train resume {name}"
