"""Keeps one host at work for as long as the director runs: find it, serve it, find it again.

One thread per host. Losing the host is normal (a restart, a crash, a laptop's sleep): its jobs
stay in the journal as sent, and the next stretch of work begins by looking for them. When it
stays away while others work, its jobs are given to them.
"""

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bridge.client import HostClient, Place
from bridge.errors import HostError
from bridge.listener import Listener
from core.endings import Endings
from core.host_process import HostProcessError
from core.host_source import EMBEDDED, HostAddress, HostSource
from core.host_worker import HostHungError, HostWorker
from core.job import State
from core.journal import JournalError
from core.tools import Tools, Wake

logger = logging.getLogger(__name__)

FILERS = 3  # pictures fetched and filed at once, beside rendering
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 3.0  # seconds between looks for a host that is away
JOURNAL_PAUSE = 5.0  # seconds before a journal that could not be written is tried again
ABORT_TIMEOUT = 2.0  # seconds a host may take to hear that a job is interrupted


class RunLoop:
    """Drives one host at a time.

    Args:
        name: what the board calls this host: an entry of ``host.use``.
        tools: what it works with.
        source: finds or starts the host.
        unet: tells the file that a host which is not named must have.
        others_work: tells whether another host of this run is at work.
        is_anyones: tells whether a host of this name is one of this run's.
    """

    def __init__(
        self,
        name: str,
        tools: Tools,
        source: HostSource,
        unet: Callable[[], str],
        others_work: Callable[[str], bool] = lambda name: False,
        is_anyones: Callable[[str], bool] = lambda key: False,
    ) -> None:
        self.name = name
        self._tools, self._journal, self._source, self._unet = tools, tools.journal, source, unet
        self._others_work, self._is_anyones = others_work, is_anyones
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._stopping = threading.Event()
        self._leaving = threading.Event()  # this host, for a better one; or all of them
        self._aborted = threading.Event()
        self._address: HostAddress | None = None
        self._key = "" if source.use == "auto" else source.use
        self._lost_at: float | None = None
        self._pause = FIRST_PAUSE
        self._said = ""  # the last trouble told, so that it is not told all night
        self._has_served = False

    @property
    def key(self) -> str:
        """Return what the journal calls the host that is, or was last, served here."""
        return self._key

    @property
    def at_work(self) -> bool:
        """Tell whether a host is being served."""
        return self._address is not None

    def tell(self, message: Any) -> None:
        """Put a message into the worker's inbox."""
        self._inbox.put(message)

    def wake(self) -> None:
        """Say that the journal has new work."""
        self.tell(Wake())

    def stop(self) -> None:
        """Finish what runs, take nothing new, then let :meth:`run` return."""
        self._stopping.set()
        self._leaving.set()
        self.wake()

    def abort(self) -> None:
        """Interrupt what runs on the host and put it back into the journal, at once."""
        self._aborted.set()
        self.stop()
        address = self._address
        if address is None:
            return
        with HostClient(address.url, "vulcan-abort", ABORT_TIMEOUT) as client:
            for job in self._journal.on_host():
                if job.host == address.key and job.state is not State.RENDERED:
                    client.cancel(job.id)
                    client.interrupt(job.id)
                    self._journal.requeue(job.id)

    def run(self) -> None:
        """Work until stopped.

        Raises:
            HostProcessError, OSError: the embedded host does not start, at the first time.
        """
        while not self._stopping.is_set():
            address, told = self._find()
            if address is None:
                self._show(url="", reason=told, running=None)
                self._wait()
            else:
                self._serve_through_trouble(address)

    def _find(self) -> tuple[HostAddress | None, str]:
        """Look for the host; one that does not start again is no reason to end the night."""
        try:
            return self._source.find(self._unet())
        except (HostProcessError, OSError) as error:
            if not self._has_served and not self._others_work(self.name):
                raise
            self._tell_once(f"{error}; trying again")
            return None, str(error)

    def _serve_through_trouble(self, address: HostAddress) -> None:
        """Serve a host; whatever ends that is shown and waited out."""
        try:
            self._serve(address)
        except HostHungError as hung:
            self._show(reason=hung.why, running=None)
            logger.warning("%s", hung)
            if not self._source.restart(address):
                self._wait_out(address, hung.job)
        except HostError as error:
            if not self._stopping.is_set():
                self._tell_once(f"{error}; looking for the host again")
                self._show(url="", reason=error.why, running=None)
                self._wait()
        except JournalError as error:
            logger.warning("%s; trying again", error)
            with self._halted(str(error)):
                self._stopping.wait(JOURNAL_PAUSE)

    def _serve(self, address: HostAddress) -> None:
        client_id = f"vulcan-{uuid.uuid4()}"
        timeout = self._tools.patience.connect_timeout
        with HostClient(address.url, client_id, timeout) as client:
            facts = client.facts()
            began = self._tools.clock()
            self._take_over(address)
            listener = Listener(address.url, client_id, self._inbox)
            try:
                with (
                    ThreadPoolExecutor(FILERS, thread_name_prefix="filing") as filers,
                    self._looking_for_better(address),
                ):
                    endings = Endings(
                        self._tools, client, facts, filers, self._inbox, self._aborted
                    )
                    worker = HostWorker(
                        *(self.name, self._tools, client, listener, address.key, endings),
                        *(self._inbox, self._leaving, facts),
                    )
                    try:
                        worker.work()
                    except (HostError, JournalError):
                        # What waits to be filed is found again; each would wait for a dead host.
                        filers.shutdown(wait=False, cancel_futures=True)
                        raise
            finally:
                self._note_loss(began)
                listener.close()

    def _note_loss(self, began: float) -> None:
        """Note that the host is gone; one that came for a moment only was never back."""
        now = self._tools.clock()
        self._address, self._has_served = None, True
        if now - began >= LONGEST_PAUSE:
            self._pause, self._said = FIRST_PAUSE, ""
        if self._lost_at is None or now - began >= self._tools.patience.move_after:
            self._lost_at = now

    def _take_over(self, address: HostAddress) -> None:
        """Become this host's server; what lies on hosts of no one's goes back to the queue."""
        self._key, self._address = address.key, address
        self._show(url=address.url, reason=address.reason, running=None)
        for job in self._journal.on_host():
            if job.host != address.key and not self._is_anyones(job.host):
                logger.info("job %s: was on %s, queued anew", job.id, job.host)
                self._journal.requeue(job.id)

    @contextmanager
    def _looking_for_better(self, address: HostAddress) -> Any:
        """While the embedded host works in place of a ComfyUI, look out for that."""
        self._leaving.clear()
        if self._stopping.is_set():  # asked after clearing, so that a stop is never overlooked
            self._leaving.set()
        over = threading.Event()
        if address.key == EMBEDDED and self._source.use != EMBEDDED:
            threading.Thread(target=self._scout, args=(over,), name="scout", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _scout(self, over: threading.Event) -> None:
        if self._source.better(self._unet(), over) and not over.is_set():
            logger.info("a ComfyUI is there; changing to it after the running job")
            self._leaving.set()
            self.wake()

    def _wait(self) -> None:
        """Wait for a host that is away; give its jobs to others when that takes long."""
        now = self._tools.clock()
        if self._lost_at is None:
            self._lost_at = now
        if now - self._lost_at >= self._tools.patience.move_after and self._others_work(self.name):
            try:
                self._move_jobs()
            except JournalError as error:
                self._tell_once(f"{error}; the jobs of {self.name} stay where they are")
        self._stopping.wait(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _move_jobs(self) -> None:
        moved = [job for job in self._journal.on_host() if job.host == self._key]
        for job in moved:
            logger.info("job %s: %s is away, others take it", job.id, self._key)
            self._journal.requeue(job.id)
        if moved:
            self._tools.on_moved()

    def _wait_out(self, address: HostAddress, job: str) -> None:
        """Wait until a host that hangs was restarted, or got over it."""
        while not self._stopping.wait(LONGEST_PAUSE):
            try:
                with HostClient(address.url, "vulcan-probe", ABORT_TIMEOUT) as client:
                    if client.locate(job).place is not Place.RUNNING:
                        return
            except HostError:
                return  # it is being restarted

    def _tell_once(self, what: str) -> None:
        if what != self._said:
            logger.warning("%s", what)
            self._said = what

    @contextmanager
    def _halted(self, why: str) -> Any:
        self._tools.board.update(trouble=why)
        try:
            yield
        finally:
            self._tools.board.update(trouble="")

    def _show(self, **changes: Any) -> None:
        self._tools.board.host(self.name, **changes)
