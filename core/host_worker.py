"""One stretch of work with one host, from finding it to losing it. Nothing lost, nothing twice.

Events from the socket make it quick; what it relies on is the host's queue and history, asked
whenever the socket is new, has been silent, or a request's fate is unknown::

    take (journal: sent) -> POST -> events | look -> history -> rendered -> filing -> done
                              |                 |
                              +-- doubt --------+-- nowhere, twice looked with a grace time
                                                    between: by name in the host's output,
                                                    else queued anew under the same id

Only this thread touches the tracker. How jobs end is :mod:`core.endings`' part.
"""

import logging
import queue
import threading
from typing import Any

from bridge import workflow
from bridge.answers import ImageRef, Outcome, Verdict
from bridge.client import HostClient, Place
from bridge.errors import HostDoubt, HostError, HostUnreachable
from bridge.listener import Reconnected
from bridge.tracker import JobTracker, Standing, Tracked
from core.endings import Endings, Unfiled
from core.filing import host_prefix
from core.job import Job, State
from core.png_text import is_whole
from core.status import Running
from core.tools import Tools, Wake

logger = logging.getLogger(__name__)

IDLE = 60.0  # seconds between looks at nothing; new work rings
REFILE_AFTER = 5.0  # seconds before pictures that could not be filed are tried again


class HostWorker:
    """Feeds one host, follows its jobs and hands on what it rendered.

    Args:
        tools: journal, templates, board, patience, clock.
        client: the host.
        key: what the journal calls the host.
        endings: ends jobs of this host.
        inbox: events of the socket, :class:`Wake` and :class:`Unfiled`.
        stopping: once set, nothing new is taken.
    """

    def __init__(
        self,
        tools: Tools,
        client: HostClient,
        key: str,
        endings: Endings,
        inbox: queue.Queue[Any],
        stopping: threading.Event,
    ) -> None:
        self._tools, self._journal, self._board = tools, tools.journal, tools.board
        self._client, self._key, self._endings = client, key, endings
        self._inbox, self._stopping = inbox, stopping
        self._tracker = JobTracker()
        self._missing: dict[str, float] = {}  # not found on the host, since when
        self._unfiled: dict[str, float] = {}  # not filed, when to try again
        self._heard = tools.clock()  # last word about one of our jobs

    def work(self) -> None:
        """Work until stopped and everything on the host has ended.

        Raises:
            HostError: the host went away; its jobs stay in the journal.
        """
        self._adopt()
        while not (self._stopping.is_set() and not len(self._tracker)):
            if self._stopping.is_set():
                self._take_back_waiting()
            else:
                self._fill()
            self._take_in()
            self._look_around()

    # Taking and posting jobs

    def _adopt(self) -> None:
        """Take over what an earlier stretch or run left on a host."""
        for job in self._journal.on_host():
            if job.host != self._key:
                logger.info("job %s: was on %s, queued anew", job.id, job.host)
                self._journal.requeue(job.id)
            elif job.state is State.RENDERED:
                self._endings.file(job)
            else:
                self._tracker.add(job.id)
                self._look_for(job.id)

    def _fill(self) -> None:
        """Post jobs until the host has its depth of them."""
        while len(self._tracker) < self._tools.patience.depth:
            job = self._journal.take(self._key)
            if job is None:
                break
            with self._endings.boundary(job):
                self._post(job)
            self._board.update(counts=self._journal.counts())

    def _post(self, job: Job) -> None:
        template = self._tools.template(job.request.workflow)
        graph = workflow.build(template, job.request, host_prefix(job.id))
        self._tracker.add(job.id)  # before the POST: events may come before its answer
        try:
            self._client.submit(graph, job.id, {"job": job.id, "file": job.file})
        except HostDoubt as doubt:
            logger.warning("job %s: %s; looking for it", job.id, doubt)
        except HostError as error:
            self._tracker.drop(job.id)  # refused or never arrived: it is not there
            if isinstance(error, HostUnreachable):
                self._journal.requeue(job.id)
            raise
        self._heard = self._tools.clock()

    def _take_back_waiting(self) -> None:
        """Take jobs that did not start yet out of the host's queue, for the next run."""
        for tracked in self._tracker:
            if tracked.standing is Standing.WAITING:
                self._client.cancel(tracked.prompt_id)
                if self._client.locate(tracked.prompt_id).place is Place.NOWHERE:
                    self._forget(tracked.prompt_id)
                    self._journal.requeue(tracked.prompt_id)

    # Following jobs

    def _take_in(self) -> None:
        """Wait for a first event, then take in all that are there."""
        try:
            self._on(self._inbox.get(timeout=self._patience_left()))
            while True:
                self._on(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _on(self, event: Any) -> None:
        match event:
            case Wake():
                pass
            case Reconnected():
                self._look_for_all()
            case Unfiled(job=job):
                self._unfiled[job] = self._tools.clock() + REFILE_AFTER
            case _:
                if str(getattr(event, "prompt_id", "")) in self._tracker:
                    self._heard = self._tools.clock()
                if changed := self._tracker.feed(event):
                    self._follow(changed)

    def _follow(self, tracked: Tracked) -> None:
        match tracked.standing:
            case Standing.WAITING:
                pass
            case Standing.RUNNING:
                self._show(tracked)
            case Standing.ENDED:
                self._look_for(tracked.prompt_id)

    def _show(self, tracked: Tracked) -> None:
        now = self._tools.clock()
        shown = self._board.snapshot.running
        if shown is None or shown.job != tracked.prompt_id:
            self._journal.started(tracked.prompt_id)
            job = self._journal.job(tracked.prompt_id)
            self._board.update(running=Running(job.id, job.name, job.request.prompt, since=now))
        if tracked.steps > 1:
            self._board.progress(tracked.prompt_id, tracked.step, tracked.steps, now)

    def _patience_left(self) -> float:
        """Return seconds until something is due without an event."""
        due = [IDLE]
        now, patience = self._tools.clock(), self._tools.patience
        if len(self._tracker):
            due.append(self._heard + patience.silence - now)
        due += [since + patience.grace - now for since in self._missing.values()]
        due += [at - now for at in self._unfiled.values()]
        return max(0.01, min(due))

    def _look_around(self) -> None:
        """Do what is due: ask after silence, look again for the missing, file again."""
        now, patience = self._tools.clock(), self._tools.patience
        if len(self._tracker) and now - self._heard >= patience.silence:
            self._look_for_all()
        for job, since in list(self._missing.items()):
            if now - since >= patience.grace:
                self._look_for(job)
        for job in [job for job, at in self._unfiled.items() if at <= now]:
            del self._unfiled[job]
            if self._journal.job(job).state is State.RENDERED:
                self._endings.file(self._journal.job(job))

    def _look_for_all(self) -> None:
        for tracked in self._tracker:
            self._look_for(tracked.prompt_id)
        self._heard = self._tools.clock()

    def _look_for(self, job: str) -> None:
        """Ask the host where a job is, and act on it."""
        finding = self._client.locate(job)
        if finding.place is Place.NOWHERE:
            self._not_found(job)
            return
        self._missing.pop(job, None)
        if finding.outcome:
            self._forget(job)
            self._endings.conclude(self._journal.job(job), finding.outcome)
        elif finding.place is Place.RUNNING and (
            changed := self._tracker.found(job, Standing.RUNNING)
        ):
            self._follow(changed)

    def _not_found(self, job: str) -> None:
        """Neither queue nor history has it: a POST on its way, or a host that forgot."""
        now = self._tools.clock()
        since = self._missing.setdefault(job, now)
        if now - since < self._tools.patience.grace:
            return
        self._forget(job)
        self._recover(self._journal.job(job))

    def _recover(self, job: Job) -> None:
        """Look for a forgotten job's picture by name; failing that, have it made again."""
        by_name = ImageRef("img_00001_.png", host_prefix(job.id).rpartition("/")[0], "output")
        picture = self._client.fetch(by_name)
        if picture is not None and is_whole(picture):
            logger.info("job %s: the host forgot it, its picture was found by name", job.id)
            self._endings.conclude(job, Outcome(Verdict.SUCCESS, (by_name,), ""))
        else:
            self._endings.lost(job, "the host does not have it")

    def _forget(self, job: str) -> None:
        self._tracker.drop(job)
        self._missing.pop(job, None)
        shown = self._board.snapshot.running
        if shown and shown.job == job:
            self._board.update(running=None)
