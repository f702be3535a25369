"""What a user may ask of the journal: cancel, retry, pause, resume, prune, status.

The same actions serve a director that runs, which is asked over its socket, and a journal that
nobody works with, which is opened for the moment. Answers are sentences for the user.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from core.job import Job, State
from core.journal import Journal

DAY = 86400.0  # seconds


class Crew(Protocol):
    """Those who must hear of it while a director runs."""

    def withdraw(self, job: str, key: str) -> None:
        """Take a cancelled job off its host."""

    def wake(self) -> None:
        """There is new work."""

    def free(self) -> Sequence[str]:
        """Give memory back."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer.

    Attributes:
        ok: whether it was done.
        lines: what was done, or why not.
    """

    ok: bool
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the control socket carries it."""
        return {"ok": self.ok, "told": list(self.lines)}


class Actions:
    """Acts on one journal.

    Args:
        journal: locked by this process.
        clock: seconds since the epoch.
        on_ended: called with each job that ended by this.
        reopen: called with a claim whose job is to be made again, and where its file was put.
        prune_files: deletes what no job needs any more.
        crew: the running hosts, if any.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float],
        on_ended: Callable[[Job], None],
        reopen: Callable[[str, str], None],
        prune_files: Callable[[], object],
        crew: Crew | None,
    ) -> None:
        self._journal, self._clock = journal, clock
        self._on_ended, self._reopen, self._prune_files = on_ended, reopen, prune_files
        self._crew = crew

    def do(self, request: Mapping[str, Any]) -> Told:
        """Carry out one request, as the control socket brings it."""
        match request.get("do"):
            case "cancel":
                return self.cancel([str(job) for job in request["jobs"]])
            case "retry":
                return self.retry([str(job) for job in request["jobs"]])
            case "pause":
                return self.pause(bool(request.get("free")))
            case "resume":
                return self.resume()
            case "prune":
                return self.prune(float(request["days"]))
            case other:
                return Told(False, (f"{other!r} is nothing that can be asked for",))

    def cancel(self, names: Sequence[str]) -> Told:
        """Cancel these jobs, and no other."""
        return _together([self._cancel(name) for name in names])

    def retry(self, names: Sequence[str]) -> Told:
        """Queue these jobs again; ``failed`` stands for all that failed."""
        told: list[Told] = []
        for name in names:
            if name == State.FAILED:
                failed = self._journal.listed((State.FAILED,))
                told += [self._retry(job.id) for job in failed]
                told += [] if failed else [Told(True, ("no job has failed",))]
            else:
                told.append(self._retry(name))
        if self._crew:
            self._crew.wake()
        return _together(told)

    def pause(self, free: bool) -> Told:
        """Send no new job; the running one is finished. Holds across restarts."""
        self._journal.pause(True)
        lines = ["paused: the running job is finished, no other is sent until `resume`"]
        if self._crew:
            self._crew.wake()
        if free:
            freed = self._crew.free() if self._crew else ()
            named = ", ".join(freed) or "no host, for none is at work"
            lines.append(f"memory is freed once idle: {named}")
        return Told(True, tuple(lines))

    def resume(self) -> Told:
        """Send jobs again."""
        self._journal.pause(False)
        if self._crew:
            self._crew.wake()
        return Told(True, ("resumed",))

    def prune(self, days: float) -> Told:
        """Forget jobs that ended longer ago than this; pictures stay where they are."""
        gone = self._journal.prune(self._clock() - days * DAY)
        self._prune_files()
        jobs = f"{gone} job{'s'[: gone != 1]}"
        return Told(True, (f"forgot {jobs} that ended over {days:g} days ago",))

    def _cancel(self, name: str) -> Told:
        job = self._find(name)
        if isinstance(job, Told):
            return job
        if not self._journal.cancel(job.id):
            return Told(False, (f"{_called(job)} is {self._journal.job(job.id).state} already",))
        cancelled = self._journal.job(job.id)
        if self._crew:
            self._crew.withdraw(job.id, cancelled.host)
        self._on_ended(cancelled)
        return Told(True, (f"cancelled {_called(job)}",))

    def _retry(self, name: str) -> Told:
        job = self._find(name)
        if isinstance(job, Told):
            return job
        place = self._journal.claim(job.claim).place
        if not self._journal.retry(job.id):
            why = f"{_called(job)} is {job.state}: only failed and cancelled jobs go again"
            return Told(False, (why,))
        self._reopen(job.claim, place)
        return Told(True, (f"queued again: {_called(job)}",))

    def _find(self, name: str) -> Job | Told:
        ids = self._journal.ids(name) if name else []
        if len(ids) == 1:
            return self._journal.job(ids[0])
        why = f"several jobs begin with {name!r}; give more of it" if ids else f"no job {name!r}"
        return Told(False, (f"{why}; `jobs` lists them",))


def _called(job: Job) -> str:
    return f"{job.id[:8]} ({job.name})"


def _together(told: Sequence[Told]) -> Told:
    return Told(all(one.ok for one in told), tuple(line for one in told for line in one.lines))
