"""How jobs leave a host: their pictures filed, tried again, or given up with a reason.

Filing runs in threads of its own, so that downloading never delays the next job; what cannot be
filed now (host busy, disk full) is reported back and tried again. A job that fails is tried once
more, for memory runs out and drivers stumble; one that fails twice the same way is poison and is
given up. The one broad ``except`` of the project is here, around one job: whatever happens to
it, the night goes on.
"""

import logging
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bridge.answers import HostFacts, Outcome, Verdict
from bridge.client import HostClient
from bridge.errors import BridgeError, HostError, HostRefused
from core import trouble
from core.job import Job
from core.journal import JournalError
from core.png_text import PngError
from core.tools import Tools, Wake

logger = logging.getLogger(__name__)

RAN, WAITED = (
    4,
    1,
)  # what a loss weighs: of a job that ran when its host vanished, or was only there
TOO_MANY = (
    20  # a job that ran five times is what kills its host; so, in the end, is one never told of
)


@dataclass(frozen=True, slots=True)
class Unfiled:
    """A filing thread could not file this job now."""

    job: str


@dataclass(frozen=True, slots=True)
class Unread:
    """What became of this job could not be read: it must be looked for."""

    job: str


class Endings:
    """Ends jobs of one host.

    Args:
        tools: journal, filing, board.
        client: the host that holds the pictures.
        facts: what the host says of itself, for the pictures' records.
        filers: threads that file pictures.
        inbox: the worker's, for :class:`Unfiled` and :class:`~core.tools.Wake`.
        aborted: once set, what the host says of jobs no longer counts: we stopped them.
    """

    def __init__(
        self,
        tools: Tools,
        client: HostClient,
        facts: HostFacts,
        filers: ThreadPoolExecutor,
        inbox: queue.Queue[Any],
        aborted: threading.Event,
    ) -> None:
        self._tools, self._journal, self._board = tools, tools.journal, tools.board
        self._client, self._facts = client, facts
        self._filers, self._inbox, self._aborted = filers, inbox, aborted
        self._lock = threading.Lock()
        self._in_hand: set[str] = set()  # being filed, or in line for it

    def conclude(self, job: Job, outcome: Outcome, hung: float = 0.0) -> None:
        """Act on what became of a job on its host.

        Args:
            job: the job.
            outcome: what history says.
            hung: seconds it stood still before we interrupted it, 0 when we did not.
        """
        if ready := self._concluded(job, outcome, hung):
            self.file(ready)

    def _concluded(self, job: Job, outcome: Outcome, hung: float) -> Job | None:
        """Act on an outcome; return the job if its pictures are to be filed."""
        if self._aborted.is_set():
            return None
        if hung and outcome.verdict is Verdict.INTERRUPTED:
            self.strike(job, f"no progress for {hung:.0f} s, so it was interrupted")
        elif outcome.verdict is Verdict.ERROR:
            self.strike(job, outcome.why)
        elif outcome.verdict is Verdict.INTERRUPTED:
            self.give_up(job, f"{outcome.why}, by somebody else; `retry {job.id[:8]}` makes it")
        elif not outcome.images:
            self.give_up(job, "the workflow ended without a picture")
        elif self._journal.rendered(job.id, outcome.images):
            return self._journal.job(job.id)
        return None

    def collect(self, job: Job, hung: float) -> None:
        """Read in another thread what became of a job that ended, and act on it."""
        self._filers.submit(self._collect, job, hung)

    def _collect(self, job: Job, hung: float) -> None:
        ready = None
        try:
            with self.boundary(job):
                outcome = self._client.outcome(job.id)
                if outcome is None:
                    self._inbox.put(Unread(job.id))
                else:
                    ready = self._concluded(job, outcome, hung)
        except (HostError, JournalError) as error:
            logger.warning("job %s: %s; looking for it again", job.id, error)
            self._inbox.put(Unread(job.id))
        if ready and self._take_in_hand(ready):
            self._file(ready)

    def give_up(self, job: Job, why: str) -> None:
        """Fail a job, with the reason its prompt file's owner will read."""
        if self._journal.failed(job.id, why):
            logger.error("job %s (%s): %s", job.id, job.name, why)
            self._end(job.id)

    def strike(self, job: Job, why: str) -> None:
        """Try a failed job once more; give it up when it fails the same way again."""
        out_of_memory = trouble.is_out_of_memory(why)
        advice = f"; out of memory: {trouble.memory_advice(job.request)}" if out_of_memory else ""
        mark = trouble.fingerprint(why)
        if mark in job.strikes or len(job.strikes) + 1 >= trouble.TIMES_STRUCK:
            self.give_up(job, f"{why}{advice} (tried {len(job.strikes) + 1} times)")
            return
        logger.warning("job %s: %s%s; tried once more", job.id, why, advice)
        if out_of_memory:
            self._free()
        self._journal.strike(job.id, mark)
        self._inbox.put(Wake())

    def lost(self, job: Job, why: str, was_running: bool) -> None:
        """Queue a job anew that its host lost, unless it is what makes the host vanish.

        Such a job may kill its host before it is told to run; then only the number of its losses
        tells it from those that waited behind it.
        """
        weight = RAN if was_running else WAITED
        if job.losses + weight >= TOO_MANY:
            self.give_up(job, f"its host vanished too often with it ({why}); see the host's log")
            return
        logger.warning("job %s: %s; queued anew", job.id, why)
        self._journal.lost(job.id, weight)
        self._inbox.put(Wake())

    def withdrawn(self, job: str) -> None:
        """A cancelled job is off its host."""
        self._journal.withdrawn(job)
        self._board.update(counts=self._journal.counts())

    def file(self, job: Job) -> None:
        """File a rendered job's pictures, in another thread."""
        if self._take_in_hand(job):
            self._filers.submit(self._file, job)

    def _take_in_hand(self, job: Job) -> bool:
        """Tell whether nobody files it yet: two at once could choose two names for one picture."""
        with self._lock:
            if job.id not in self._in_hand:
                self._in_hand.add(job.id)
                return True
        self._inbox.put(Unfiled(job.id))
        return False

    @contextmanager
    def boundary(self, job: Job) -> Iterator[None]:
        """Keep one job's trouble to itself; trouble with host or journal goes to the caller."""
        try:
            yield
        except HostRefused as refusal:
            self.give_up(job, refusal.why)
        except (HostError, JournalError):
            raise
        except BridgeError as error:
            self.give_up(job, str(error))
        except Exception as error:
            logger.exception("job %s: unexpected trouble", job.id)
            self.give_up(job, f"unexpected {type(error).__name__}: {error}; please report it")

    def _file(self, job: Job) -> None:
        try:
            with self.boundary(job):
                self._file_now(job)
        except (HostError, JournalError) as error:
            self._later(job, error)
        finally:
            with self._lock:
                self._in_hand.discard(job.id)

    def _file_now(self, job: Job) -> None:
        try:
            filed = self._tools.filing.file(job, self._client, self._facts)
        except OSError as error:
            self._later(job, error)
        except PngError as error:
            self._again(job, f"the host sent no whole picture: {error}")
        else:
            if filed:
                self._end(job.id)
            else:
                self._again(job, "the host rendered it, and its picture is gone")

    def _again(self, job: Job, why: str) -> None:
        self._client.forget(job.id)  # or the next attempt would be taken for ended
        self.strike(job, why)

    def _later(self, job: Job, error: Exception) -> None:
        logger.warning("job %s: not filed yet: %s", job.id, error)
        self._inbox.put(Unfiled(job.id))

    def _free(self) -> None:
        try:
            self._client.free()
        except HostError as error:
            logger.warning("the host's memory was not freed: %s", error)

    def _end(self, job_id: str) -> None:
        self._board.update(counts=self._journal.counts())
        self._tools.on_ended(self._journal.job(job_id))
