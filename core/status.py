"""What the director is doing, as one frozen snapshot, and how it looks on a terminal.

Threads report changes to the :class:`Board`; whoever shows them takes the snapshot. Rendering is
a pure function of the snapshot and the clock.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.job import State


@dataclass(frozen=True, slots=True)
class Running:
    """The job the host works on.

    Attributes:
        job: its id.
        name: the picture's name.
        prompt: what is drawn.
        since: when the host took it up, in clock seconds.
        step: steps done of the node that runs.
        steps: steps that node has, 0 while unknown.
        first_step_at: when its first step was reported; with it comes the pace.
    """

    job: str
    name: str
    prompt: str
    since: float
    step: int = 0
    steps: int = 0
    first_step_at: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """Estimate the rest of the steps from the pace so far; ``None`` before the second."""
        if self.first_step_at is None or self.step < 2:
            return None
        pace = (now - self.first_step_at) / (self.step - 1)
        return pace * (self.steps - self.step)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a display shows.

    Attributes:
        host: URL of the host, empty while there is none.
        reason: why this host, or what is being waited for.
        activity: what is being prepared, with its share done from 0 to 1.
        running: the job in hand.
        counts: jobs by state.
    """

    host: str = ""
    reason: str = "starting"
    activity: tuple[str, float] | None = None
    running: Running | None = None
    counts: Mapping[State, int] = field(default_factory=dict)


class Board:
    """The one place where threads leave what they do, and a bell for who shows it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self.changed = threading.Event()

    @property
    def snapshot(self) -> Snapshot:
        """Return the newest snapshot."""
        return self._snapshot

    def update(self, **changes: Any) -> None:
        """Change fields of the snapshot."""
        self._replace(lambda now: replace(now, **changes))

    def progress(self, job: str, step: int, steps: int, now: float) -> None:
        """Note a step of the running job."""
        self._replace(lambda shot: _stepped(shot, job, step, steps, now))

    def _replace(self, change: Callable[[Snapshot], Snapshot]) -> None:
        with self._lock:
            self._snapshot = change(self._snapshot)
        self.changed.set()


def _stepped(shot: Snapshot, job: str, step: int, steps: int, now: float) -> Snapshot:
    if shot.running is None or shot.running.job != job:
        return shot
    first = shot.running.first_step_at if step > 1 else None
    running = replace(
        shot.running, step=step, steps=steps, first_step_at=first or (now if step else None)
    )
    return replace(shot, running=running)


def render(shot: Snapshot, now: float) -> RenderableType:
    """Draw a snapshot: host, job, steps with time left, queue."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=6)
    table.add_column(ratio=1)
    table.add_row("host", Text(f"{shot.host}  {shot.reason}".strip(), overflow="ellipsis"))
    if shot.activity:
        what, share = shot.activity
        table.add_row("", what)
        table.add_row("", ProgressBar(total=1.0, completed=share, width=40))
    if shot.running:
        _add_running(table, shot.running, now)
    table.add_row("queue", _counts(shot.counts))
    return table


def _add_running(table: Table, running: Running, now: float) -> None:
    table.add_row(
        "job", Text(f"{running.name}  {running.prompt}", overflow="ellipsis", no_wrap=True)
    )
    if not running.steps:
        table.add_row("", f"loading, {now - running.since:.0f} s")
        return
    left = running.seconds_left(now)
    told = f"step {running.step}/{running.steps}"
    told += f", {_duration(left)} left" if left is not None else ""
    bar = ProgressBar(total=running.steps, completed=running.step, width=40)
    table.add_row("", told)
    table.add_row("", bar)


def _counts(counts: Mapping[State, int]) -> str:
    waiting = counts.get(State.QUEUED, 0)
    on_host = sum(counts.get(state, 0) for state in (State.SENT, State.RUNNING, State.RENDERED))
    done, failed = counts.get(State.DONE, 0), counts.get(State.FAILED, 0)
    return f"{waiting} waiting, {on_host} on the host, {done} done" + (
        f", {failed} failed" if failed else ""
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
