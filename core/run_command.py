"""``director.py run``: startup, main loop, shutdown.

Threads: the main thread shows the board and hears Ctrl-C; one takes in prompt files; one drives
the host. They share the journal and nothing else. Preparing (quantising, checking the pair)
happens while the folder is already watched, so dropping a file never waits for a model.
"""

import argparse
import logging
import signal
import subprocess
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from bridge import workflow
from bridge.workflow import Workflow
from configs import settings as configs
from configs.settings import WORKFLOWS, Settings
from core import display
from core.drop_folder import Claim, DropFolder
from core.filing import OUR_PREFIX, Filing
from core.host_process import HostProcess
from core.host_source import HostSource
from core.intake import Intake
from core.job import OPEN, Job, State
from core.journal import Journal, JournalError
from core.prepare import Loras, prepare
from core.resolve import Ready, Usual
from core.run_loop import RunLoop
from core.status import Board
from core.tools import Patience, Tools
from models.file_system import file_system

logger = logging.getLogger(__name__)

UNSAFE_FOR_STATE = frozenset({"9p", "drvfs", "cifs", "smb3", "nfs", "nfs4", "virtiofs"})
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def run(arguments: argparse.Namespace) -> int:
    """Run the director until stopped, or with ``--once`` until the work is done.

    Raises:
        ConfigError, JournalError, ModelError, PrepareError, HostProcessError, OSError
    """
    settings = configs.load(arguments.config, _flags(arguments))
    _refuse_unsafe(settings.state)
    board = Board()
    journal = Journal(settings.state, time.time)
    folder = DropFolder(settings.folders.inbox, time.monotonic, time.time_ns)
    try:
        with display.shown(board, verbose=arguments.verbose):
            logger.info("watching %s", settings.folders.inbox)
            return Director(settings, board, journal, folder, arguments.once).run()
    finally:
        folder.close()
        journal.close()


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    def absolute(path: Path | None) -> str | None:
        return str(path.resolve()) if path else None

    return {
        "host": {"use": arguments.host},
        "folders": {
            "inbox": absolute(arguments.inbox),
            "outbox": absolute(arguments.outbox),
            "models": absolute(arguments.models),
        },
    }


def _refuse_unsafe(state: Path) -> None:
    state.mkdir(parents=True, exist_ok=True)
    kind = file_system(state)
    if kind in UNSAFE_FOR_STATE:
        raise JournalError(
            f"The state folder {state} lies on {kind}, where SQLite's locks are not safe; "
            "set VULCAN_STATE to a folder on a Linux disk, such as ~/.local/state/vulcan"
        )


class Director:
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
        self._process = HostProcess(settings.folders.models, settings.state / "host")
        self._over = threading.Event()
        self._trouble: Future[None] = Future()
        self._interrupted = False
        self._bad_files = 0
        self._failed_jobs = 0
        self._loop: RunLoop | None = None
        self._preparing: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Start the threads, wait for the end, and stop them in order."""
        before = signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        worker = threading.Thread(
            target=self._guarded, args=(self._work,), name="host", daemon=True
        )
        worker.start()
        try:
            while worker.is_alive():
                worker.join(0.2 if self._once else 0.5)
        finally:
            signal.signal(signal.SIGINT, before)
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
        logger.info("stopping after the running job; once more to stop at once")
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        self._folder.close()
        if self._preparing:
            self._preparing.terminate()
        if self._loop:
            self._loop.stop()

    def _guarded(self, work: Any) -> None:
        """Run a thread's work; carry its error to the main thread and end the run."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, not swallowed
            if not self._trouble.done() and not self._interrupted:
                self._trouble.set_exception(error)
            self._stop()

    def _work(self) -> None:
        """Prepare, then drive the host until the end."""
        ready, loras = prepare(self._settings, self._report, self._note_child)
        self._board.update(activity=None)
        intake = self._make_intake(ready, loras)
        self._loop = loop = self._make_loop(ready, loras, intake)
        if self._over.is_set():
            return
        taking_in = threading.Thread(
            target=self._guarded,
            args=(lambda: self._take_in(intake, loop),),
            name="intake",
            daemon=True,
        )
        taking_in.start()
        loop.run()
        taking_in.join(timeout=5)

    def _note_child(self, child: subprocess.Popen[str]) -> None:
        self._preparing = child

    def _report(self, what: str, share: float) -> None:
        self._board.update(activity=(what, share))

    def _take_in(self, intake: Intake, loop: RunLoop) -> None:
        """Enter prompt files as they come; with ``--once``, end when all is done."""
        for claim in self._folder.left_over():
            self._enter(claim, intake, loop)
        intake.settle_all()
        self._tidy_host()
        for claim in self._folder.claims(until_empty=self._once):
            self._enter(claim, intake, loop)
        if self._once and not self._over.is_set():
            self._wait_for_jobs()
            self._stop()

    def _enter(self, claim: Claim, intake: Intake, loop: RunLoop) -> None:
        if intake.enter(claim):
            loop.wake()
        else:
            self._bad_files += 1

    def _wait_for_jobs(self) -> None:
        while not self._over.is_set():
            counts = self._journal.counts()
            if not any(counts[state] for state in OPEN):
                return
            self._over.wait(0.1)

    def _tidy_host(self) -> None:
        """Delete the embedded host's copies of pictures that an earlier run filed."""
        saved = set(self._process.saved(OUR_PREFIX))  # before asking, as jobs go on meanwhile
        for job in saved - {job.id for job in self._journal.on_host()}:
            self._process.discard(f"{OUR_PREFIX}/{job}")

    def _on_ended(self, job: Job, intake: Intake) -> None:
        self._process.discard(f"{OUR_PREFIX}/{job.id}")
        if job.state is State.DONE:
            took = f", {job.seconds:.1f} s" if job.seconds else ""
            logger.info("made %s%s", job.paths[0].name, took)
        else:
            self._failed_jobs += 1
        intake.settle(job.claim)

    def _make_intake(self, ready: Ready, loras: Loras) -> Intake:
        return Intake(
            folder=self._folder,
            journal=self._journal,
            ready=ready,
            usual=Usual(**self._settings.defaults.model_dump()),
            find_lora=loras.find,
            workflows=WORKFLOWS,
            today=lambda: time.strftime("%Y-%m-%d"),
        )

    def _make_loop(self, ready: Ready, loras: Loras, intake: Intake) -> RunLoop:
        host = self._settings.host
        source = HostSource(
            use=host.use,
            candidates=host.candidates,
            process=self._process,
            connect_timeout=host.connect_timeout,
            comeback=host.comeback,
            clock=time.monotonic,
        )
        patience = Patience(host.connect_timeout, host.depth, host.grace, host.silence)
        tools = Tools(
            journal=self._journal,
            template=_templates(),
            filing=Filing(
                self._journal,
                self._settings.folders.outbox,
                _templates(),
                ready.unet_sha256,
                loras.find,
            ),
            board=self._board,
            patience=patience,
            clock=time.time,
            on_ended=lambda job: self._on_ended(job, intake),
        )
        return RunLoop(tools, source, ready.unet)


def _templates() -> Any:
    """Return a function that reads each template once."""
    known: dict[str, Workflow] = {}

    def template(name: str) -> Workflow:
        if name not in known:
            known[name] = workflow.load(WORKFLOWS / f"{name}.json")
        return known[name]

    return template
