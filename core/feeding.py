"""Giving a host its jobs: whose turn it is, the graph, the POST; and taking them back.

The host's queue holds a few of our jobs, so that the next is there when one ends: ``depth`` of
them, and more where jobs are so short that the way to the host would show.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from bridge import workflow
from bridge.answers import Outcome, Verdict
from bridge.client import HostClient, Place
from bridge.errors import HostDoubt, HostError, HostRefused, HostUnreachable
from bridge.request import InputImage, Request
from bridge.tracker import JobTracker, Standing
from bridge.workflow import Slots, Workflow
from core.endings import Endings
from core.filing import host_prefix
from core.fitness import UnfitError
from core.input_images import name_on_host
from core.job import Job
from core.suitability import Suitability
from core.tools import Tools

logger = logging.getLogger(__name__)

AHEAD = 0.5  # seconds of work the host's queue should hold
DEEPEST = 16  # jobs
SMOOTHING = 0.2  # weight of the newest job in the mean time of one


class Feeder:
    """Posts one host's jobs.

    Args:
        tools: journal, templates, patience.
        client: the host.
        key: what the journal calls it.
        endings: ends jobs that cannot be posted.
        tracker: told of each job before its POST.
        suitability: what the host can run.
    """

    def __init__(
        self,
        tools: Tools,
        client: HostClient,
        key: str,
        endings: Endings,
        tracker: JobTracker,
        suitability: Suitability,
    ) -> None:
        self._tools, self._journal, self._client = tools, tools.journal, client
        self._key, self._endings, self._tracker = key, endings, tracker
        self._suitability = suitability
        self.doubts: dict[str, str] = {}  # by job, a POST's answer that was neither yes nor no
        self._unsure: list[str] = []  # they may have ended, or never arrived: no event will tell
        self._ended_at: float | None = None
        self._mean = math.inf  # seconds a job takes, inf while unknown
        self._slots: dict[str, Slots] = {}  # by workflow
        self._uploaded: dict[str, str] = {}  # by sha256, the host's name of it

    def fill(self) -> bool:
        """Post jobs until the host has its depth of them; tell whether any was posted."""
        depth, posted = self._depth(), False
        if len(self._tracker) > depth // 2 >= self._tools.patience.depth:
            return False  # a handful at a time: they share one commit
        while len(self._tracker) < depth:
            jobs = self._journal.upcoming(depth - len(self._tracker), self._suitability.unfit())
            if not jobs:
                break
            posted = self._give(jobs) or posted
        if posted:
            self._tools.board.update(counts=self._journal.counts())
        return posted

    def take_unsure(self) -> list[str]:
        """Return the jobs that the host must be asked about, once."""
        unsure, self._unsure = self._unsure, []
        return unsure

    def note_end(self, now: float) -> None:
        """Learn from a job that ended how long one takes."""
        if self._ended_at is not None:
            took = now - self._ended_at
            known = took if math.isinf(self._mean) else self._mean
            self._mean = known + SMOOTHING * (took - known)
        self._ended_at = now if len(self._tracker) else None  # a pause is no job

    def take_back_waiting(self) -> None:
        """Take jobs that did not start yet out of the host's queue, for a later turn."""
        for tracked in self._tracker:
            if tracked.standing is Standing.WAITING:
                self._client.cancel(tracked.prompt_id)
                if self._client.locate(tracked.prompt_id).place is Place.NOWHERE:
                    self._tracker.drop(tracked.prompt_id)
                    self._journal.requeue(tracked.prompt_id)

    def _depth(self) -> int:
        wanted = math.ceil(AHEAD / self._mean) if self._mean > 0 else DEEPEST
        return max(self._tools.patience.depth, min(wanted, DEEPEST))

    def _give(self, jobs: Sequence[Job]) -> bool:
        """Post those of some jobs that this host can run; the first trouble with it ends that."""
        graphs: dict[str, tuple[Job, Workflow]] = {}
        for job in jobs:
            with self._endings.boundary(job):
                graph = self._graph(job)
                if self._suitability.fits(job, graph):
                    graphs[job.id] = (job, graph)
                else:
                    self._refuse(job)
        waiting = self._journal.take(list(graphs), self._key)
        try:
            while waiting:
                self._give_one(*graphs[waiting.pop(0)])
        finally:
            for job_id in waiting:
                self._journal.requeue(job_id)
        return bool(graphs)

    def _give_one(self, job: Job, graph: Workflow) -> None:
        with self._endings.boundary(job):
            self._tracker.add(job.id)  # before the POST: events may come before its answer
            if job.attempts == 0 or not self._has_it(job):
                self._post(job, self._suitability.respelled(job, graph))

    def _graph(self, job: Job) -> Workflow:
        name = job.request.workflow
        template = self._tools.template(name)
        if name not in self._slots:
            self._slots[name] = workflow.find_slots(template, name)
        image = self._upload(job.request)
        prefix = host_prefix(job.id, job.attempts + 1)
        return workflow.build(template, job.request, prefix, image, self._slots[name])

    def _upload(self, request: Request) -> str:
        """Give the host the picture a job starts from; the same picture only once."""
        if request.image is None:
            return ""
        sha256 = request.image.sha256
        if sha256 not in self._uploaded:
            self._uploaded[sha256] = self._give_picture(request.image)
        return self._uploaded[sha256]

    def _give_picture(self, image: InputImage) -> str:
        try:
            return self._client.upload(name_on_host(image), Path(image.path).read_bytes())
        except OSError as error:
            why = f"the picture it starts from, {image.name}, cannot be read: {error}"
            raise HostRefused(self._client.url, why) from error
        except HostUnreachable:
            raise
        except HostError as error:
            raise HostRefused(self._client.url, error.why) from error  # this picture, not the host

    def _refuse(self, job: Job) -> None:
        """Fail every job of a kind that no host can run."""
        if why := self._tools.fitness.hopeless(job.needs):
            for waiting in self._journal.queued_with(job.needs):
                with self._endings.boundary(self._journal.job(waiting)):
                    raise UnfitError(why)

    def _has_it(self, job: Job) -> bool:
        """Look whether the host has a job of an earlier attempt; what failed is forgotten."""
        finding = self._client.locate(job.id)
        if finding.place is Place.NOWHERE:
            return False
        if finding.outcome and not _has_pictures(finding.outcome):
            self._client.forget(job.id)
            return False
        self._unsure.append(job.id)
        logger.info("job %s: the host has it already (%s)", job.id, finding.place)
        return True

    def _post(self, job: Job, graph: Workflow) -> None:
        try:
            self._client.submit(graph, job.id, {"job": job.id, "file": job.file})
        except HostDoubt as doubt:
            logger.warning("job %s: %s; looking for it", job.id, doubt)
            self._unsure.append(job.id)
            if doubt.status:
                self.doubts[job.id] = doubt.why
        except HostError as error:
            self._tracker.drop(job.id)  # refused or never arrived: it is not there
            if isinstance(error, HostUnreachable):
                self._journal.requeue(job.id)
            raise


def _has_pictures(outcome: Outcome) -> bool:
    """Tell whether an earlier attempt was a success; one that was cut off may have some, too."""
    return outcome.verdict is Verdict.SUCCESS and bool(outcome.images)
