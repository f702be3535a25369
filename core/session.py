"""One run of the director: its threads, from preparing to the last job, and their end in order.

Threads: the main thread hears Ctrl-C; one prepares and then waits for the hosts; one takes in
prompt files; each host has its own (:mod:`core.fleet`). They share the journal and nothing else.
Preparing (quantising, checking the pair) happens while the folder is already watched, so
dropping a file never waits for a model.
"""

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from configs.settings import Settings
from core import assembly, reopening
from core.actions import Actions
from core.control import ControlServer
from core.drop_folder import Claim, DropFolder
from core.filing import OUR_PREFIX
from core.fleet import Fleet
from core.host_process import HostProcess
from core.input_images import InputImages
from core.intake import Intake
from core.job import ON_HOST, OPEN, Job, State
from core.journal import Journal, JournalError
from core.pairs import Pairs
from core.prepare import PrepareError
from core.status import Board

logger = logging.getLogger(__name__)

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
SETTLE_AFTER = 30.0  # seconds before files that could not be settled are tried again
JOURNAL_PAUSE = 5.0  # seconds before a journal that could not be written is tried again


class Session:
    """One run.

    Args:
        settings: everything the user may set.
        board: what is shown.
        journal: opened and locked.
        folder: watched already.
        once: end when nothing is left to do.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        journal: Journal,
        folder: DropFolder,
        once: bool,
    ) -> None:
        self._settings, self._board = settings, board
        self._journal, self._folder, self._once = journal, folder, once
        self._process = HostProcess(
            settings.folders.models,
            settings.state / "host",
            partial_loras=settings.lora.allow_partial,
            vram_limit=settings.host.vram_limit,
        )
        self._images = InputImages(settings.state / "input")
        self._fleet = Fleet()
        self._intake: Intake | None = None
        self._over = threading.Event()
        self._done = threading.Event()
        self._trouble: Future[None] = Future()
        self._interrupted = False
        self._settling = threading.Lock()  # held while a timer runs
        self._bad_files = self._failed_jobs = 0
        self._preparing: subprocess.Popen[str] | None = None
        self._actions = Actions(
            *(journal, time.time, self._on_ended, self._reopen, self._prune_images, self._fleet)
        )

    def run(self) -> int:
        """Start the threads, wait for the end, and stop them in order."""
        before = signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        control = ControlServer(self._settings.state, self._answer)
        try:
            threading.Thread(target=self._guarded, args=(self._work,), daemon=True).start()
            self._done.wait()
        except KeyboardInterrupt:
            logger.info("interrupting the running job; it is made again at the next start")
            self._fleet.abort()
        finally:
            signal.signal(signal.SIGINT, before)
            control.close()
            self._process.stop()
        if self._trouble.done():
            self._trouble.result()
        return self._exit_code()

    def _exit_code(self) -> int:
        if self._interrupted:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self._once and (self._bad_files or self._failed_jobs) else 0

    def _on_signal(self, _number: int, _frame: Any) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        logger.info("stopping after the running job; once more to interrupt it")
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        self._folder.close()
        if self._preparing:
            self._preparing.terminate()
        self._fleet.stop()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; carry its error to the main thread and end the run."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, not swallowed
            if not self._trouble.done() and not self._interrupted:
                self._trouble.set_exception(error)
            self._stop()
        finally:
            if work == self._work:
                self._done.set()

    def _work(self) -> None:
        """Prepare, then drive the hosts until the end."""
        self._prune()
        self._board.update(paused=self._journal.paused(), counts=self._journal.counts())
        pairs = Pairs(self._settings, self._report)
        paired = pairs.usual(self._note_child)
        self._board.update(activity=None)
        parts = assembly.Parts(self._settings, self._board, self._journal, pairs, paired)
        self._intake = intake = parts.intake(self._folder, self._images)
        parts.man(self._fleet, self._process, self._on_ended)
        if self._over.is_set():
            return
        taking_in = partial(self._guarded, partial(self._take_in, intake))
        thread = threading.Thread(target=taking_in, name="intake", daemon=True)
        thread.start()
        self._fleet.run(self._guarded)
        thread.join(timeout=5)

    def _note_child(self, child: subprocess.Popen[str]) -> None:
        self._preparing = child
        if self._over.is_set():  # asked for before there was a child to end
            child.terminate()

    def _report(self, what: str, share: float) -> None:
        if self._over.is_set():
            raise PrepareError("stopped while it was being made ready")
        self._board.update(activity=(what, share) if share < 1 else None)

    # Prompt files

    def _take_in(self, intake: Intake) -> None:
        """Enter prompt files as they come; with ``--once``, end when all is done."""
        self._enter(intake, self._folder.left_over())
        self._settle_all()
        self._tidy_host()
        for claims in self._folder.batches(until_empty=self._once):
            self._enter(intake, claims)
        if self._once and not self._over.is_set():
            self._wait_for_jobs()
            self._stop()

    def _enter(self, intake: Intake, claims: Sequence[Claim]) -> None:
        """Enter claims; a journal that cannot be written now is tried until it can."""
        while not self._over.is_set():
            try:
                self._bad_files += intake.enter(claims)
                break
            except JournalError as error:
                logger.warning("%s; trying again", error)
                self._board.update(trouble=str(error))
                self._over.wait(JOURNAL_PAUSE)
        self._board.update(trouble="", activity=None, counts=self._journal.counts())
        self._fleet.wake()

    def _wait_for_jobs(self) -> None:
        while not self._over.wait(0.1):
            counts = self._journal.counts()
            awaited = ON_HOST if self._journal.paused() else OPEN
            if not any(counts[state] for state in awaited):
                return

    # Ends

    def _on_ended(self, job: Job) -> None:
        self._process.discard(f"{OUR_PREFIX}/{job.id}")
        if job.state is State.DONE:
            took = f", {job.seconds:.1f} s" if job.seconds else ""
            logger.info("made %s%s", job.paths[0].name, took)
        elif job.state is State.FAILED:
            self._failed_jobs += 1
        self._board.update(counts=self._journal.counts())
        if self._intake is None:
            return  # settled when it is there
        try:
            self._intake.settle(job.claim)
        except (OSError, JournalError) as error:
            logger.warning("%s stays claimed for now: %s", job.file, error)
            self._settle_later()

    def _settle_all(self) -> None:
        """Settle what can be settled; the rest (a full disk, a file that is held) later."""
        if self._intake is None or self._over.is_set():
            return
        try:
            if self._intake.settle_all():
                return
        except JournalError as error:
            logger.warning("%s; trying again", error)
        self._settle_later()

    def _settle_later(self) -> None:
        if self._settling.acquire(blocking=False):
            timer = threading.Timer(SETTLE_AFTER, self._settle_now)
            timer.daemon = True
            timer.start()

    def _settle_now(self) -> None:
        self._settling.release()  # first, so that what fails from here on has a timer of its own
        self._settle_all()

    def _tidy_host(self) -> None:
        """Delete the embedded host's copies of pictures that an earlier run filed."""
        saved = set(self._process.saved(OUR_PREFIX))  # before asking, as jobs go on meanwhile
        for job in saved - {job.id for job in self._journal.on_host()}:
            self._process.discard(f"{OUR_PREFIX}/{job}")

    def _prune(self) -> None:
        if self._settings.keep_days:
            self._actions.prune(self._settings.keep_days)

    def _prune_images(self) -> None:
        self._images.prune(self._journal.needed_images())

    # Requests from outside

    def _reopen(self, claim: str, place: str) -> None:
        reopening.reopen(self._settings.folders.inbox, claim, place)

    def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if request.get("do") == "status":
            return {"ok": True, "snapshot": self._board.snapshot.to_json(time.time())}
        told = self._actions.do(request)
        self._board.update(paused=self._journal.paused(), counts=self._journal.counts())
        for line in told.lines:
            logger.info("%s", line)
        return told.to_json()
