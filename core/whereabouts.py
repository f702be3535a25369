"""Where a host has our jobs, by what its queue and history say: the truth behind the socket.

A job that is in neither may be a POST on its way, so it is looked for twice with a grace time
between. Then it is lost: its picture is looked for by name, and only then is it made again.
"""

import logging
from collections.abc import Callable, Iterator

from bridge.answers import ImageRef, Outcome, Verdict
from bridge.client import HostClient, Place
from bridge.tracker import JobTracker, Standing, Tracked
from core.endings import Endings
from core.filing import expected_names
from core.job import Job, State
from core.png_text import is_whole
from core.tools import Tools

logger = logging.getLogger(__name__)


class Whereabouts:
    """Finds one host's jobs.

    Args:
        tools: journal, patience, clock.
        client: the host.
        tracker: the jobs to be found.
        endings: told what became of them.
        forget: called with a job that is no longer on the host.
        hung: seconds a job stood still before we interrupted it, 0 for others.
        doubts: by job, what its POST was answered when that was neither yes nor no.
    """

    def __init__(
        self,
        tools: Tools,
        client: HostClient,
        tracker: JobTracker,
        endings: Endings,
        forget: Callable[[str], None],
        hung: Callable[[str], float],
        doubts: dict[str, str],
    ) -> None:
        self._tools, self._journal, self._client = tools, tools.journal, client
        self._tracker, self._endings = tracker, endings
        self._forget, self._hung, self._doubts = forget, hung, doubts
        self._missing: dict[str, float] = {}  # not found, since when

    def due(self) -> Iterator[float]:
        """Yield when missing jobs are to be looked for again."""
        for since in self._missing.values():
            yield since + self._tools.patience.grace

    def look_for_missing(self, now: float) -> None:
        """Look again for those whose time has come."""
        for job, since in list(self._missing.items()):
            if job not in self._tracker:
                del self._missing[job]
            elif now - since >= self._tools.patience.grace:
                self.look_for(job)

    def look_for(self, job: str) -> Tracked | None:
        """Ask the host where a job is; return it if it is found to run.

        Raises:
            HostError: the host does not answer.
        """
        finding = self._client.locate(job)
        place, outcome = finding.place, finding.outcome
        if place is Place.NOWHERE:
            self._not_found(job)
            return None
        self._missing.pop(job, None)
        self._doubts.pop(job, None)
        if outcome:
            self._end(job, outcome)
        elif place is Place.RUNNING:
            return self._tracker.found(job, Standing.RUNNING)
        return None

    def _end(self, job: str, outcome: Outcome) -> None:
        hung = self._hung(job)
        self._forget(job)
        ended = self._journal.job(job)
        with self._endings.boundary(ended):
            self._endings.conclude(ended, outcome, hung)

    def _not_found(self, job: str) -> None:
        """Neither queue nor history has it: a POST on its way, or a host that forgot."""
        now = self._tools.clock()
        since = self._missing.setdefault(job, now)
        if now - since < self._tools.patience.grace:
            return
        del self._missing[job]
        self._forget(job)
        lost = self._journal.job(job)
        with self._endings.boundary(lost):
            self._recover(lost)

    def _recover(self, job: Job) -> None:
        """Look for a forgotten job's pictures by name; failing that, have it made again."""
        template = self._tools.template(job.request.workflow)
        for attempt in range(job.attempts, 0, -1):
            images = expected_names(job, template, attempt)
            if images and all(self._is_there(image) for image in images):
                logger.info("job %s: the host forgot it, its picture was found by name", job.id)
                self._endings.conclude(job, Outcome(Verdict.SUCCESS, images, ""))
                return
        if answer := self._doubts.pop(job.id, ""):
            self._endings.strike(job, f"the host {answer} and did not queue it; see its log")
        else:
            was_running = job.state is State.RUNNING
            self._endings.lost(job, "the host does not have it", was_running)

    def _is_there(self, image: ImageRef) -> bool:
        picture = self._client.fetch(image)
        return picture is not None and is_whole(picture)
