"""What the director is doing, as one frozen snapshot, and how it looks on a terminal.

Threads report changes to the :class:`Board`; whoever shows them takes the snapshot. Rendering is
a pure function of the snapshot and the clock.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.job import State


@dataclass(frozen=True, slots=True)
class Running:
    """The job a host works on.

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
class HostView:
    """One host of the run.

    Attributes:
        url: empty while there is none.
        reason: why this host, or what is being waited for.
        running: the job in hand.
        lacks: what it needs for jobs that wait, empty when it has everything.
    """

    url: str = ""
    reason: str = "starting"
    running: Running | None = None
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a display shows.

    Attributes:
        hosts: by name, in the order of the settings.
        activity: what is being prepared, with its share done from 0 to 1.
        counts: jobs by state.
        paused: no new job is sent.
        trouble: what keeps the whole run from going on, empty when nothing does.
    """

    hosts: Mapping[str, HostView] = field(default_factory=dict)
    activity: tuple[str, float] | None = None
    counts: Mapping[State, int] = field(default_factory=dict)
    paused: bool = False
    trouble: str = ""

    def to_json(self, now: float) -> dict[str, Any]:
        """Return it as ``status --json`` prints it."""
        return {
            "hosts": {name: _view_to_json(view, now) for name, view in self.hosts.items()},
            "activity": list(self.activity) if self.activity else None,
            "counts": {str(state): count for state, count in self.counts.items()},
            "paused": self.paused,
            "trouble": self.trouble,
        }


def _view_to_json(view: HostView, now: float) -> dict[str, Any]:
    running = view.running
    return {
        "url": view.url,
        "reason": view.reason,
        "lacks": view.lacks,
        "running": running
        and {
            **asdict(running),
            "seconds_left": running.seconds_left(now),
            "for": now - running.since,
        },
    }


def snapshot_from_json(told: Mapping[str, Any]) -> Snapshot:
    """Read what :meth:`Snapshot.to_json` wrote."""
    return Snapshot(
        hosts={name: _view_from_json(view) for name, view in told["hosts"].items()},
        activity=tuple(told["activity"]) if told["activity"] else None,
        counts={State(state): count for state, count in told["counts"].items()},
        paused=told["paused"],
        trouble=told["trouble"],
    )


def _view_from_json(told: Mapping[str, Any]) -> HostView:
    names = [field.name for field in fields(Running)]
    running = told["running"] and Running(**{name: told["running"][name] for name in names})
    return HostView(told["url"], told["reason"], running, told["lacks"])


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

    def host(self, name: str, **changes: Any) -> None:
        """Change what is shown of one host."""
        self._replace(lambda now: _with_host(now, name, lambda view: replace(view, **changes)))

    def progress(self, name: str, job: str, step: int, steps: int, now: float) -> None:
        """Note a step of a host's running job."""
        self._replace(
            lambda shot: _with_host(shot, name, lambda view: _stepped(view, job, step, steps, now))
        )

    def running(self, name: str) -> Running | None:
        """Return what a host works on."""
        view = self._snapshot.hosts.get(name)
        return view.running if view else None

    def _replace(self, change: Callable[[Snapshot], Snapshot]) -> None:
        with self._lock:
            self._snapshot = change(self._snapshot)
        self.changed.set()


def _with_host(shot: Snapshot, name: str, change: Callable[[HostView], HostView]) -> Snapshot:
    view = shot.hosts.get(name, HostView())
    return replace(shot, hosts={**shot.hosts, name: change(view)})


def _stepped(view: HostView, job: str, step: int, steps: int, now: float) -> HostView:
    if view.running is None or view.running.job != job:
        return view
    first = view.running.first_step_at if step > 1 else None
    running = replace(
        view.running, step=step, steps=steps, first_step_at=first or (now if step else None)
    )
    return replace(view, running=running)


def render(shot: Snapshot, now: float) -> RenderableType:
    """Draw a snapshot: hosts, their jobs, steps with time left, queue."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=6)
    table.add_column(ratio=1)
    for view in shot.hosts.values() or (HostView(),):
        table.add_row("host", Text(f"{view.url}  {view.reason}".strip(), overflow="ellipsis"))
        if view.lacks:
            table.add_row("lacks", Text(view.lacks))
        if view.running:
            _add_running(table, view.running, now)
    if shot.activity:
        what, share = shot.activity
        table.add_row("", Text(what))
        table.add_row("", ProgressBar(total=1.0, completed=share, width=40))
    table.add_row("queue", queue_line(shot.counts) + (", paused" if shot.paused else ""))
    if shot.trouble:
        table.add_row("halted", Text(shot.trouble, style="bold"))
    return table


def _add_running(table: Table, running: Running, now: float) -> None:
    table.add_row(
        "job", Text(f"{running.name}  {running.prompt}", overflow="ellipsis", no_wrap=True)
    )
    table.add_row("", progress_line(running, now))
    if running.steps:
        table.add_row("", ProgressBar(total=running.steps, completed=running.step, width=40))


def progress_line(running: Running, now: float) -> str:
    """Say how far a job is."""
    if not running.steps:
        return f"loading, {now - running.since:.0f} s"
    left = running.seconds_left(now)
    return f"step {running.step}/{running.steps}" + (
        f", {duration(left)} left" if left is not None else ""
    )


def queue_line(counts: Mapping[State, int]) -> str:
    """Say how many jobs are where."""
    waiting = counts.get(State.QUEUED, 0)
    on_host = sum(counts.get(state, 0) for state in (State.SENT, State.RUNNING, State.RENDERED))
    told = f"{waiting} waiting, {on_host} on the host, {counts.get(State.DONE, 0)} done"
    for state in (State.FAILED, State.CANCELLED):
        told += f", {counts[state]} {state}" if counts.get(state) else ""
    return told


def duration(seconds: float) -> str:
    """Write a time as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
