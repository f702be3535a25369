"""What the host is doing with our jobs: the only place where that changes.

Fed with events (the socket's hints) and with findings (what queue and history say), it answers
with the job's new standing, or ``None`` where nothing changed. It does no I/O and does not know
the journal; it forgets a job when told to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from bridge.protocol import Cached, Ended, Event, Executing, Progressed, Started


class Standing(StrEnum):
    """Where a job stands on its host; only ``ENDED`` promises a history entry."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Tracked:
    """One job as its host shows it.

    Attributes:
        prompt_id: the job.
        standing: waiting, running or ended.
        node: id of the node that runs.
        step: steps done in that node.
        steps: steps that node has; 0 while unknown.
    """

    prompt_id: str
    standing: Standing = Standing.WAITING
    node: str | None = None
    step: int = 0
    steps: int = 0


class JobTracker:
    """The jobs that are on one host, by prompt_id."""

    def __init__(self) -> None:
        self._jobs: dict[str, Tracked] = {}

    def __contains__(self, prompt_id: str) -> bool:
        return prompt_id in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Tracked]:
        return iter(list(self._jobs.values()))

    def add(self, prompt_id: str) -> None:
        """Follow a job; before its POST, so that no event can outrun us."""
        self._jobs.setdefault(prompt_id, Tracked(prompt_id))

    def drop(self, prompt_id: str) -> None:
        """Forget a job that is fetched, refused or given up."""
        self._jobs.pop(prompt_id, None)

    def running(self) -> Tracked | None:
        """Return the job that the host works on, if it is one of ours."""
        jobs = self._jobs.values()
        return next((job for job in jobs if job.standing is Standing.RUNNING), None)

    def feed(self, event: Event) -> Tracked | None:
        """Take an event in; return the job it changed, if any."""
        prompt_id = getattr(event, "prompt_id", None)
        job = self._jobs.get(prompt_id) if prompt_id else None
        if job is None or job.standing is Standing.ENDED:
            return None
        changed = _after(job, event)
        self._jobs[job.prompt_id] = changed
        return changed if changed != job else None

    def found(self, prompt_id: str, standing: Standing) -> Tracked | None:
        """Take in what queue or history say, which outranks the socket."""
        job = self._jobs.get(prompt_id)
        if job is None or job.standing is standing:
            return None
        self._jobs[prompt_id] = replace(job, standing=standing)
        return self._jobs[prompt_id]


def _after(job: Tracked, event: Event) -> Tracked:
    match event:
        case Started() | Cached():
            return replace(job, standing=Standing.RUNNING)
        case Executing(node=node):
            return replace(job, standing=Standing.RUNNING, node=node, step=0, steps=0)
        case Progressed(node=node, value=value, maximum=maximum):
            return replace(job, standing=Standing.RUNNING, node=node, step=value, steps=maximum)
        case Ended():
            return replace(job, standing=Standing.ENDED)
        case _:
            # Success, error and interrupt too: only `Ended` says that history can be read.
            return job
