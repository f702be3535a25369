"""One stretch of work with one host, from finding it to losing it. Nothing lost, nothing twice.

Events from the socket make it quick; what it relies on is the host's queue and history, asked
whenever the socket is new, has been silent, or a request's fate is unknown::

    take (journal: sent) -> POST -> events | look -> history -> rendered -> filing -> done
                              |                 |
                              +-- doubt --------+-- nowhere, twice looked with a grace time
                                                    between: by name in the host's output,
                                                    else queued anew under the same id

One thread; only it touches the tracker. It decides *when*; :mod:`core.feeding` posts,
:mod:`core.whereabouts` looks, :mod:`core.endings` ends, :mod:`core.stall` watches the pace.
"""

import logging
import queue
import threading
from typing import Any

from bridge.answers import HostFacts
from bridge.client import HostClient, Place
from bridge.errors import HostError
from bridge.listener import Listener, Reconnected
from bridge.tracker import JobTracker, Standing, Tracked
from core.endings import Endings, Unfiled, Unread
from core.feeding import Feeder
from core.job import Job, State
from core.stall import Advice, Stall, StallLimits
from core.status import Running
from core.suitability import Suitability
from core.tools import Free, Tools, Wake, Withdraw
from core.whereabouts import Whereabouts

logger = logging.getLogger(__name__)

IDLE = 60.0  # seconds between looks at nothing; new work rings
# Seconds before pictures that could not be filed are tried again; twice as long each time.
REFILE_AFTER, LONGEST_REFILE = 1.0, 60.0
INTERRUPT_HEEDED = 60.0  # seconds an interrupt may take: it is seen at the next step


class HostHungError(HostError):
    """The host runs a job that neither goes on nor heeds an interrupt.

    Attributes:
        job: that job.
    """

    def __init__(self, url: str, why: str, job: str) -> None:
        """Keep the job beside the sentence."""
        super().__init__(url, why)
        self.job = job


class HostWorker:
    """Feeds one host, follows its jobs and hands on what it rendered.

    Args:
        name: the host's, on the board and in the run's fitness.
        tools: journal, templates, board, patience, clock.
        client: the host.
        listener: its socket, connected anew when it may have gone deaf.
        key: what the journal calls the host.
        endings: ends jobs of this host.
        inbox: events of the socket and messages from the director's other threads.
        stopping: once set, nothing new is taken.
        facts: what the host said of itself when it was connected.
    """

    def __init__(
        self,
        name: str,
        tools: Tools,
        client: HostClient,
        listener: Listener,
        key: str,
        endings: Endings,
        inbox: queue.Queue[Any],
        stopping: threading.Event,
        facts: HostFacts,
    ) -> None:
        self._name, self._tools, self._journal = name, tools, tools.journal
        self._board, self._client, self._listener = tools.board, client, listener
        self._key, self._endings = key, endings
        self._inbox, self._stopping = inbox, stopping
        self._tracker = JobTracker()
        self._suitability = Suitability(
            *(name, client, tools.fitness, tools.clock),
            lambda graph: tools.memory.lacks(graph, facts) if tools.memory else "",
        )
        self._feeder = Feeder(tools, client, key, endings, self._tracker, self._suitability)
        self._whereabouts = Whereabouts(
            *(tools, client, self._tracker, endings),
            *(self._forget, self._stood_still, self._feeder.doubts),
        )
        patience = tools.patience
        self._stall = Stall(StallLimits(patience.stall_factor, patience.stall_least, patience.load))
        self._interrupted: dict[str, tuple[float, float]] = {}  # job: when, after how long still
        self._unfiled: dict[str, tuple[float, float]] = {}  # when to try again, pause before it
        self._heard = self._looked = tools.clock()  # last word about our jobs; last look at all
        self._free_wanted = False
        self._socket_speaks = False

    def work(self) -> None:
        """Work until stopped and everything on the host has ended.

        Raises:
            HostError: the host went away; its jobs stay in the journal.
            JournalError: the journal cannot be written.
        """
        self._adopt()
        while not (self._stopping.is_set() and not len(self._tracker)):
            if self._stopping.is_set() or self._journal.paused():
                self._feeder.take_back_waiting()
            elif self._feeder.fill():
                self._heard = self._tools.clock()
            for job in self._feeder.take_unsure():
                self._look_for(job)
            self._show_lack()
            self._free_if_wanted()
            self._take_in()
            self._look_around()

    def _adopt(self) -> None:
        """Take over what an earlier stretch or run left on this host."""
        for cancelled in self._journal.to_withdraw(self._key):
            self._withdraw(cancelled)
        for job in self._journal.on_host():
            if job.host != self._key:
                continue
            if job.state is State.RENDERED:
                self._endings.file(job)
            else:
                self._tracker.add(job.id)
                self._look_for(job.id)
        self._clear_strangers()

    def _clear_strangers(self) -> None:
        """Take jobs off this host that went to another while it was away."""
        there = self._client.queue()
        for job in there.running | there.pending:
            # A stranger's id may be any text, also the beginning of one of ours.
            ours = job not in self._tracker and job in self._journal.ids(job)
            # One that waits for its turn may stay: whoever takes it here finds it under way.
            if ours and self._journal.job(job).state is not State.QUEUED:
                logger.info("job %s: is made elsewhere, taken off %s", job, self._key)
                self._remove(job)

    # Events

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
            case Withdraw(job=job):
                self._withdraw(job)
            case Free():
                self._free_wanted = True
            case Reconnected():
                self._socket_speaks = False
                self._look_for_all()
            case Unread(job=job):
                self._look_again(job)
            case Unfiled(job=job):
                now = self._tools.clock()
                self._unfiled.setdefault(job, (now + REFILE_AFTER, REFILE_AFTER))
            case _:
                self._socket_speaks = True
                if str(getattr(event, "prompt_id", "")) in self._tracker:
                    self._heard = self._tools.clock()
                if changed := self._tracker.feed(event):
                    self._follow(changed)

    def _look_again(self, job: str) -> None:
        here = self._here(job)
        if here and here.state is State.RENDERED:
            self._endings.file(here)
        elif here:
            self._tracker.add(job)
            self._look_for(job)

    def _here(self, job: str) -> Job | None:
        """Return a job if the journal has it on this host: while we were away it may have moved."""
        there = (each for each in self._journal.on_host() if each.host == self._key)
        return next((each for each in there if each.id == job), None)

    def _follow(self, tracked: Tracked) -> None:
        match tracked.standing:
            case Standing.WAITING:
                pass
            case Standing.RUNNING:
                self._show(tracked)
            case Standing.ENDED:
                hung = self._stood_still(tracked.prompt_id)
                self._forget(tracked.prompt_id)
                self._endings.collect(self._journal.job(tracked.prompt_id), hung)

    def _show(self, tracked: Tracked) -> None:
        now = self._tools.clock()
        self._stall.note(tracked, now)
        shown = self._board.running(self._name)
        if shown is None or shown.job != tracked.prompt_id:
            self._journal.started(tracked.prompt_id)
            job = self._journal.job(tracked.prompt_id)
            running = Running(job.id, job.name, job.request.prompt, since=self._tools.wall())
            self._board.host(self._name, running=running)
            self._look_for_overtaken(tracked.prompt_id)
        if tracked.steps > 1:
            at = self._tools.wall()
            self._board.progress(self._name, tracked.prompt_id, tracked.step, tracked.steps, at)

    def _show_lack(self) -> None:
        view = self._board.snapshot.hosts.get(self._name)
        if view and view.lacks != self._suitability.lacks():
            self._board.host(self._name, lacks=self._suitability.lacks())

    def _look_for_overtaken(self, running: str) -> None:
        """Look for jobs that were posted before this one and still wait: somebody removed them."""
        for tracked in self._tracker:
            if tracked.prompt_id == running:
                return
            if tracked.standing is Standing.WAITING:
                self._look_for(tracked.prompt_id)

    # What is due without an event

    def _patience_left(self) -> float:
        """Return seconds until something is due without an event."""
        now = self._tools.clock()
        refile = [at for at, _ in self._unfiled.values()]
        due = [now + IDLE, *refile, *self._whereabouts.due()]
        if len(self._tracker):
            due += [self._heard + self._tools.patience.silence, self._looked + IDLE]
        if running := self._tracker.running():
            due.append(self._verdict_due(running.prompt_id, now))
        if (ask := self._suitability.due()) is not None:
            due.append(ask)
        return max(0.01, min(due) - now)

    def _verdict_due(self, job: str, now: float) -> float:
        if job in self._interrupted:
            return self._interrupted[job][0] + INTERRUPT_HEEDED
        due = self._stall.due(job) if self._socket_speaks else None
        return due or now + IDLE

    def _look_around(self) -> None:
        """Do what is due: ask after silence, look again for the missing, file again."""
        now = self._tools.clock()
        silent = now - self._heard >= self._tools.patience.silence
        # Also when one job is loud: it would drown that another's end went unheard.
        if len(self._tracker) and (silent or now - self._looked >= IDLE):
            self._look_for_all()
        self._whereabouts.look_for_missing(now)
        if running := self._tracker.running():
            self._judge(running, now)
        if (ask := self._suitability.due()) is not None and now >= ask:
            self._suitability.ask_again()
        for job in [job for job, (at, _) in self._unfiled.items() if at <= now]:
            self._file_again(job, now)

    def _file_again(self, job: str, now: float) -> None:
        """File what could not be filed; less and less often, as a disk may be full all night."""
        here = self._here(job)
        if here is None or here.state is not State.RENDERED:
            del self._unfiled[job]
            return
        pause = min(2 * self._unfiled[job][1], LONGEST_REFILE)
        self._unfiled[job] = (now + pause, pause)
        self._endings.file(here)

    def _look_for_all(self) -> None:
        for tracked in self._tracker:
            self._look_for(tracked.prompt_id)
        self._heard = self._looked = self._tools.clock()

    def _look_for(self, job: str) -> None:
        if running := self._whereabouts.look_for(job):
            self._follow(running)

    def _judge(self, running: Tracked, now: float) -> None:
        """Interrupt a job that stands still; give the host up when it does not heed that."""
        job = running.prompt_id
        if job in self._interrupted:
            since, _ = self._interrupted[job]
            if now - since >= INTERRUPT_HEEDED:
                self._give_host_up(job, now)
            return
        advice = self._stall.advice(job, now)
        if advice is Advice.LISTEN_ANEW:
            self._listener.reconnect()
        elif advice is Advice.INTERRUPT and self._socket_speaks:
            # A socket that has not even greeted us proves nothing about the job.
            still = self._stall.silent(job, now)
            logger.warning("job %s: no progress for %.0f s, interrupting it", job, still)
            self._interrupted[job] = (now, still)
            self._client.interrupt(job)

    def _give_host_up(self, job: str, now: float) -> None:
        self._feeder.take_back_waiting()
        still = self._stall.silent(job, now)
        self._forget(job)
        hung = self._journal.job(job)
        self._endings.strike(hung, f"no progress for {still:.0f} s, and no interrupt was heeded")
        raise HostHungError(
            self._client.url,
            f"hangs in job {hung.name} and heeds no interrupt; restart ComfyUI there",
            job,
        )

    # Taking jobs off

    def _withdraw(self, job: str) -> None:
        """Take a job that its owner cancelled off the host: this one, never a neighbour."""
        if self._here(job):
            return  # `retry` came after `cancel`, and we have taken it again since
        self._remove(job)
        self._forget(job)
        self._endings.withdrawn(job)

    def _remove(self, job: str) -> None:
        self._client.cancel(job)
        # Asked first, as an older ComfyUI interrupts whatever runs, named or not.
        if self._client.locate(job).place is Place.RUNNING:
            self._client.interrupt(job)

    def _free_if_wanted(self) -> None:
        if self._free_wanted and not len(self._tracker):
            self._free_wanted = False
            self._client.free()
            logger.info("host %s was told to free its memory", self._key)

    def _stood_still(self, job: str) -> float:
        return self._interrupted.get(job, (0.0, 0.0))[1]

    def _forget(self, job: str) -> None:
        self._tracker.drop(job)
        self._interrupted.pop(job, None)
        self._feeder.note_end(self._tools.clock())
        shown = self._board.running(self._name)
        if shown and shown.job == job:
            self._board.host(self._name, running=None)
