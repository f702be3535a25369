"""The trainer as a worker's child: started, stopped, and started again where a crash was no end.

``python -m training RUN`` keeps checkpoints and goes on from the newest, so it may be started as
often as one likes. It inherits the run's lock, and the kernel ends it when its worker dies (Linux'
``PR_SET_PDEATHSIG``), so after a kill -9 it saves its state, and the next worker waits for that.
"""

import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import IO

from configs.settings import ROOT
from core.training_process import LOG
from training import progress
from training.errors import TrainingError
from training.progress import Stage, State
from training.run_folder import RunFolder

logger = logging.getLogger(__name__)

TRAINER = "training"  # the module that is run
MOST_RESTARTS = 5
SAVING = 120.0  # seconds a trainer may take to save its state when it is told to stop
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TAIL = 20  # lines of its output that are looked at when it ended


class Paused(Exception):  # noqa: N818 - names what happened
    """The trainer paused by itself; the message is its reason."""


class Stopped(Exception):  # noqa: N818 - names what happened
    """Somebody wants the worker to stop."""


class Stop:
    """Somebody's wish that a worker stops: a flag, and a child that is told as well."""

    def __init__(self) -> None:
        self._asked = Event()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_asked(self) -> bool:
        """Whether it is wished."""
        return self._asked.is_set()

    def ask(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Wish it; fit for a signal's handler."""
        self._asked.set()
        if self._child is not None:
            self._child.terminate()

    def pause(self, seconds: float) -> None:
        """Wait that long.

        Raises:
            Stopped: it is wished.
        """
        if self._asked.wait(seconds):
            raise Stopped

    def run(self, command: Sequence[str], log: IO[bytes], lock: int, where: Path | None) -> int:
        """Run a child to its end, which comes sooner if it is wished, and return its exit code."""
        child = subprocess.Popen(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock] if lock >= 0 else [],
            preexec_fn=_end_with_parent,
        )
        self._child = child
        if self.is_asked:  # between the last look and this child
            child.terminate()
        try:
            return self._end_of(child)
        finally:
            self._child = None

    def _end_of(self, child: "subprocess.Popen[bytes]") -> int:
        patience: float | None = None
        while True:
            try:
                return child.wait(0.5)
            except subprocess.TimeoutExpired:
                if self.is_asked and patience is None:
                    patience = time.monotonic() + SAVING
                if patience is not None and time.monotonic() > patience:
                    child.kill()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def train(run: RunFolder, stop: Stop, lock: int, module: str, max_runtime: float) -> None:
    """Train until it is done.

    Args:
        run: what is trained.
        stop: ends it early.
        lock: file descriptor of the run's lock, which the trainer holds as well.
        module: the trainer.
        max_runtime: seconds after which it is to pause; 0 for no limit.

    Raises:
        TrainingError: it cannot go on, in its own words.
        Paused: its time limit was reached; its state is saved.
        Stopped: somebody wants it to stop; likewise.
    """
    limit = [f"--max-runtime={max_runtime:g}"] if max_runtime else []
    command = [sys.executable, "-m", module, str(run.path), *limit]
    restarts = 0
    while True:
        before = _reached(run)
        code, told = _run(run, stop, lock, command)
        if code == 0 or stop.is_asked:
            _make_sure(run, stop)
            return
        _refuse_to_go_on(run, code, told, restarts, progressed=_reached(run) > before)
        restarts += 1
        logger.warning("the trainer ended with %d and is started again: %s", code, told)


def _run(run: RunFolder, stop: Stop, lock: int, command: Sequence[str]) -> tuple[int, str]:
    """Run the trainer once; return its exit code and the end of what it said."""
    path = run.path / LOG
    with path.open("ab") as log:
        start = log.tell()
        code = stop.run(command, log, lock, ROOT)
    with path.open("rb") as log:
        log.seek(start)
        text = log.read().decode("utf-8", errors="replace")
    return code, "\n".join(text.splitlines()[-_TAIL:])


def _make_sure(run: RunFolder, stop: Stop) -> None:
    """Raise unless the trainer is done."""
    status = progress.read_status(run.status)
    if status is not None and status.state is State.DONE:
        return
    if stop.is_asked:
        raise Stopped
    if status is not None and status.state is State.PAUSED:
        raise Paused(f"paused: {status.text or 'what was trained is saved'}")
    raise TrainingError("the trainer ended without saying how", path=run.status, fix=_fix(run))


def _reached(run: RunFolder) -> tuple[int, int]:
    """Return how far the training has come: stage and step."""
    furthest = (-1, 0)
    for event in progress.read(run.progress):
        furthest = max(furthest, (list(Stage).index(event.stage), event.step))
    return furthest


def _refuse_to_go_on(
    run: RunFolder, code: int, told: str, restarts: int, *, progressed: bool
) -> None:
    """Raise unless the trainer crashed, had come further, and may be started again."""
    last = told.splitlines()[-1] if told else ""
    if code == 1 and "Traceback" not in told and (reason := _reason(run) or last):
        raise TrainingError(reason.rstrip("."))
    if progressed and restarts < MOST_RESTARTS:
        return
    again = f", {restarts + 1} times" if restarts else ""
    raise TrainingError(
        f"the trainer crashed{again}",
        why=_how(code) + (f"; its last words: {last}" if last else ""),
        fix="Its log has all of it; it goes on from its last checkpoint",
    )


def _reason(run: RunFolder) -> str:
    """Return why the trainer says that it failed; empty if it does not say so."""
    status = progress.read_status(run.status)
    return status.text if status is not None and status.state is State.FAILED else ""


def _how(code: int) -> str:
    """Say how a process ended; its children's signals come as 128 and more."""
    number = -code if code < 0 else code - 128
    if number not in {int(one) for one in signal.Signals}:
        return f"exit code {code}"
    hint = ", most likely because memory ran out" if number == signal.SIGKILL else ""
    return f"ended by {signal.Signals(number).name}{hint}"


def _fix(run: RunFolder) -> str:
    return f"Look at {run.path / LOG}"


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C wish for a stop until the block ends."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, stop.ask) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
