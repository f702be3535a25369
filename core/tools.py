"""What the parts around a host share: the tools they work with and how patient they are."""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.workflow import Workflow
from core.filing import Filing
from core.fitness import Fitness
from core.job import Job
from core.journal import Journal
from core.memory_check import MemoryCheck
from core.status import Board


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take; times in seconds (configs/vulcan.toml says what they mean)."""

    connect_timeout: float
    depth: int
    grace: float
    silence: float
    move_after: float
    stall_factor: float
    stall_least: float
    load: float


@dataclass(frozen=True, slots=True)
class Tools:
    """What every stretch of work with a host uses.

    Attributes:
        journal: where jobs come from and are moved.
        template: returns a workflow template by name.
        filing: files what was rendered.
        board: shown to the user.
        fitness: which host can run what.
        patience: waiting times.
        clock: seconds, monotonic: what is waited for must not hang on a clock that can be set.
        wall: seconds since the epoch, for what is shown.
        on_ended: called after each job that is done or failed, from any thread.
        on_moved: called when jobs of a host that is away may be taken by others.
        memory: holds jobs against a host's card; ``None`` leaves that to the host.
    """

    journal: Journal
    template: Callable[[str], Workflow]
    filing: Filing
    board: Board
    fitness: Fitness
    patience: Patience
    clock: Callable[[], float]
    wall: Callable[[], float]
    on_ended: Callable[[Job], None]
    on_moved: Callable[[], None]
    memory: MemoryCheck | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Rings the worker from another thread: there is new work, or an end in sight."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take this job, cancelled by its owner, off the host."""

    job: str


@dataclass(frozen=True, slots=True)
class Free:
    """Let the host give its memory back once nothing of ours is left on it."""
