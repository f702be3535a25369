"""A training's worker as a process: started apart from the terminal, found again, told to stop.

The worker holds an flock on a file in the run folder, and so does the trainer that it starts, so
two never work on one run. A process number can be used again by the system; with the time that
the process began it cannot be mistaken.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from configs.settings import ROOT
from training.errors import TrainingError

LOCK, LOG = "worker.lock", "worker.log"
_PATIENCE = 90.0  # seconds for the trainer of a killed worker to save its state and end
_PAUSE = 0.1


def start(folder: Path, arguments: Sequence[str]) -> None:
    """Start a worker in a session of its own and wait until it holds the run's lock, or ended.

    What it says goes to its log.

    Args:
        folder: the run's.
        arguments: of ``core.training_worker``.

    Raises:
        OSError: it cannot be started.
    """
    command = [sys.executable, "-m", "core.training_worker", f"--at={Path.cwd()}", *arguments]
    with (folder / LOG).open("ab") as log:
        worker = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # closing the terminal, or Ctrl-C in it, is not for the worker
        )
    while worker.poll() is None and not is_at_work(folder):
        time.sleep(_PAUSE)
    worker.returncode = worker.returncode or 0  # it is nobody's child from here on


def is_at_work(folder: Path) -> bool:
    """Tell whether a worker, or a trainer that it left behind, has a run."""
    try:
        guard = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(guard)
    return False


def take(folder: Path, patience: float = _PATIENCE) -> int:
    """Take a run's lock; the number is a file descriptor that holds it until closed.

    Raises:
        TrainingError: another process keeps it.
    """
    guard = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > end:
                os.close(guard)
                fix = "Wait for it, or stop it: python core/director.py train stop NAME"
                what = "another worker has this training"
                raise TrainingError(what, path=folder, fix=fix) from error
            time.sleep(_PAUSE)
        else:
            return guard


def born(pid: int) -> int:
    """Return when a process began, in ticks since the boot (``proc(5)``); 0 if there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The name may hold spaces and brackets; what follows it does not. A zombie works no more.
    state, *rest = told.rpartition(")")[2].split()
    return 0 if state in "ZX" else int(rest[18])


def is_alive(pid: int, since: int) -> bool:
    """Tell whether the process that had this number then is still there."""
    return pid > 0 and since > 0 and born(pid) == since


def terminate(pid: int, since: int) -> bool:
    """Send SIGTERM to exactly this process; tell whether it was there."""
    if not is_alive(pid, since):
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True
