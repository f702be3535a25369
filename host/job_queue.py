"""The host's queue and history; one lock, no I/O.

Jobs run by number (lower first), then in the order in which they came. A finished job leaves the
queue and enters the history in one step, so a client never sees it in neither.
"""

import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from host.errors import DuplicateJobError
from host.graph import Graph

HISTORY_LIMIT = 10_000

_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


@dataclass(frozen=True, slots=True)
class Job:
    """One submitted graph.

    Attributes:
        number: priority, lower first; what the client asked for or a counter.
        prompt_id: the id under which the client knows it.
        graph: validated, in API format.
        extra_data: whatever the client sent along; shown in queue and history.
        outputs: ids of the output nodes to run.
        client_id: who gets the messages; None means that most are not sent at all.
    """

    number: float
    prompt_id: str
    graph: Graph
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    client_id: str | None = None

    def as_list(self, *, secrets: bool = True) -> list[Any]:
        """Return the job as ``/queue`` and ``/history`` show it."""
        extra = self.extra_data
        if not secrets:
            extra = {key: value for key, value in extra.items() if key not in _SECRETS}
        return [self.number, self.prompt_id, self.graph, extra, list(self.outputs)]


@dataclass(slots=True)
class Wishes:
    """What ``POST /free`` asked for, to be done after the current job."""

    unload_models: bool = False
    free_memory: bool = False

    def __bool__(self) -> bool:
        return self.unload_models or self.free_memory


class JobQueue:
    """Pending and running jobs, and the history of ended ones. Safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: list[tuple[float, int, Job]] = []
        self._running: Job | None = None
        self._history: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._arrivals = itertools.count()
        self._numbers = itertools.count()
        self._wishes = Wishes()

    def next_number(self) -> int:
        """Return the next value of the counter that numbers jobs."""
        with self._changed:
            return next(self._numbers)

    def put(self, job: Job, announce: Callable[[int], None] = lambda remaining: None) -> None:
        """Queue a job; ``announce`` is told the new length before the job can start.

        Raises:
            DuplicateJobError: a job with its prompt_id is pending or running.
        """
        with self._changed:
            if job.prompt_id in self._live_ids():
                raise DuplicateJobError(job.prompt_id)
            heapq.heappush(self._pending, (job.number, next(self._arrivals), job))
            announce(len(self._pending) + (self._running is not None))
            self._changed.notify()

    def take(self, begin: Callable[[str], None]) -> Job | Wishes:
        """Wait for work and return it: the next job, now running, or what ``/free`` wants.

        ``begin`` is told the job's id in the moment in which it stops being pending, so that an
        interrupt finds it either pending or stoppable and never in between.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._wishes)
            if self._wishes:
                wishes, self._wishes = self._wishes, Wishes()
                return wishes
            self._running = heapq.heappop(self._pending)[2]
            begin(self._running.prompt_id)
            return self._running

    def finish(self, entry: dict[str, Any]) -> None:
        """Move the running job into the history under its prompt_id."""
        with self._changed:
            job, self._running = self._running, None
            if job is None:
                return
            self._history.pop(job.prompt_id, None)
            self._history[job.prompt_id] = {"prompt": job.as_list(secrets=False), **entry}
            while len(self._history) > HISTORY_LIMIT:
                self._history.popitem(last=False)

    def wish(self, *, unload_models: bool, free_memory: bool) -> None:
        """Ask the worker to free memory after the current job."""
        with self._changed:
            self._wishes.unload_models |= unload_models
            self._wishes.free_memory |= free_memory
            self._changed.notify()

    @property
    def remaining(self) -> int:
        """Return how many jobs are pending or running."""
        with self._changed:
            return len(self._pending) + (self._running is not None)

    @property
    def running(self) -> Job | None:
        """Return the job that runs now."""
        with self._changed:
            return self._running

    def snapshot(self) -> tuple[list[Job], list[Job]]:
        """Return the running and the pending jobs, the latter in the order of their turn."""
        with self._changed:
            running = [self._running] if self._running else []
            return running, [job for _, _, job in sorted(self._pending, key=_turn)]

    def everything(self) -> tuple[list[Job], list[Job], list[dict[str, Any]]]:
        """Return running and pending jobs and the history entries, all of one moment."""
        with self._changed:
            running, pending = self.snapshot()
            return running, pending, list(self._history.values())

    def delete(self, prompt_ids: Iterable[str]) -> int:
        """Drop pending jobs, return how many; running and unknown ones are left alone."""
        unwanted = set(prompt_ids)
        with self._changed:
            before = len(self._pending)
            self._pending = [item for item in self._pending if item[2].prompt_id not in unwanted]
            heapq.heapify(self._pending)
            return before - len(self._pending)

    def clear(self) -> None:
        """Drop every pending job."""
        with self._changed:
            self._pending.clear()

    def history(
        self, *, max_items: int | None = None, offset: int | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return history entries, oldest first; ``max_items`` alone means the newest ones."""
        with self._changed:
            entries = list(self._history.items())
        start = offset
        if start is None:
            start = max(0, len(entries) - max_items) if max_items is not None else 0
        end = None if max_items is None else start + max_items
        return dict(entries[start:end])

    def history_of(self, prompt_id: str) -> dict[str, Any] | None:
        """Return one history entry."""
        with self._changed:
            return self._history.get(prompt_id)

    def forget(self, prompt_ids: Iterable[str]) -> None:
        """Delete history entries."""
        with self._changed:
            for prompt_id in prompt_ids:
                self._history.pop(prompt_id, None)

    def forget_all(self) -> None:
        """Delete the whole history."""
        with self._changed:
            self._history.clear()

    def _live_ids(self) -> set[str]:
        ids = {job.prompt_id for _, _, job in self._pending}
        return ids | {self._running.prompt_id} if self._running else ids


def _turn(item: tuple[float, int, Job]) -> tuple[float, int]:
    return item[0], item[1]
