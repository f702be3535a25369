"""How jobs leave a host: their pictures filed, queued anew, or given up with a reason.

Filing runs in threads of its own, so that downloading never delays the next job; what cannot be
filed now (host busy, disk full) is reported back and tried again. The one broad ``except`` of
the project is here, around one job: whatever happens to it, the night goes on.
"""

import logging
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge.answers import Outcome, Verdict
from bridge.client import HostClient
from bridge.errors import BridgeError, HostError, HostRefused
from core.job import Job
from core.journal import JournalError
from core.tools import Tools, Wake

logger = logging.getLogger(__name__)

TIMES_LOST = 3  # a job that its host lost this often within one run is poison


@dataclass(frozen=True, slots=True)
class Unfiled:
    """A filing thread could not file this job now."""

    job: str


class Endings:
    """Ends jobs of one host.

    Args:
        tools: journal, filing, board.
        client: the host that holds the pictures.
        software: what the host says it is, for the pictures' records.
        filers: threads that file pictures.
        losses: how often jobs were lost in this run, kept across hosts.
        inbox: the worker's, for :class:`Unfiled` and :class:`~core.tools.Wake`.
    """

    def __init__(
        self,
        tools: Tools,
        client: HostClient,
        software: str,
        filers: ThreadPoolExecutor,
        inbox: queue.Queue[Any],
        losses: dict[str, int],
    ) -> None:
        self._tools, self._journal, self._board = tools, tools.journal, tools.board
        self._client, self._software = client, software
        self._filers, self._inbox, self._losses = filers, inbox, losses

    def conclude(self, job: Job, outcome: Outcome) -> None:
        """Act on what became of a job on its host."""
        if outcome.verdict is not Verdict.SUCCESS:
            self.give_up(job, outcome.why)
        elif not outcome.images:
            self.give_up(job, "the workflow ended without a picture")
        elif self._journal.rendered(job.id, outcome.images):
            self.file(self._journal.job(job.id))

    def give_up(self, job: Job, why: str) -> None:
        """Fail a job, with the reason its prompt file's owner will read."""
        if self._journal.failed(job.id, why):
            logger.error("job %s (%s): %s", job.id, job.name, why)
            self._end(job.id)

    def lost(self, job: Job, why: str) -> None:
        """Queue a job anew that its host lost, unless that happens to it again and again."""
        self._losses[job.id] = self._losses.get(job.id, 0) + 1
        if self._losses[job.id] >= TIMES_LOST:
            self.give_up(job, f"its host lost it {TIMES_LOST} times ({why}); see the host's log")
        else:
            logger.warning("job %s: %s; queued anew", job.id, why)
            self._journal.requeue(job.id)
            self._inbox.put(Wake())

    def file(self, job: Job) -> None:
        """File a rendered job's pictures, in another thread."""
        self._filers.submit(self._file, job)

    @contextmanager
    def boundary(self, job: Job) -> Iterator[None]:
        """Keep one job's trouble to itself; trouble with the host goes on to the caller."""
        try:
            yield
        except HostRefused as refusal:
            self.give_up(job, refusal.why)
        except HostError:
            raise
        except BridgeError as error:
            self.give_up(job, str(error))
        except Exception as error:
            logger.exception("job %s: unexpected trouble", job.id)
            self.give_up(job, f"unexpected {type(error).__name__}: {error}; please report it")

    def _file(self, job: Job) -> None:
        with self.boundary(job):
            try:
                filed = self._tools.filing.file(job, self._client, self._software)
            except (HostError, JournalError, OSError) as error:
                logger.warning("job %s: not filed yet: %s", job.id, error)
                self._inbox.put(Unfiled(job.id))
                return
            if filed:
                self._end(job.id)
            else:
                self.lost(job, "its picture is gone")

    def _end(self, job_id: str) -> None:
        self._board.update(counts=self._journal.counts())
        self._tools.on_ended(self._journal.job(job_id))
