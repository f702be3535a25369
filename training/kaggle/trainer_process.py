"""Runs the trainer as a child of the notebook, and shows what it says while it runs.

A stop (SIGTERM of the machine, an interrupt from the editor) is handed to the trainer, which saves
where it stands and ends; only then this returns. Knows nothing of Kaggle.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training import progress
from training.kaggle.event_lines import EVERY, EventLines
from training.run_folder import RunFolder

_LOOK = 0.5  # seconds
_KEPT = 20  # lines


@dataclass(frozen=True, slots=True)
class Ended:
    """How the trainer ended.

    Attributes:
        code: its exit code.
        last: the last line that it printed; empty if it printed none.
    """

    code: int
    last: str


def run(
    folder: RunFolder,
    seconds: float,
    source: Path,
    say: Callable[[str], None],
    every: float = EVERY,
) -> Ended:
    """Train until the end, the time limit, a failure, or a stop.

    Args:
        folder: of the run.
        seconds: until it pauses.
        source: the folder with the source.
        say: is given lines to show.
        every: seconds between two lines of updates.
    """
    seen = sum(1 for _ in _lines(folder.progress))
    child = subprocess.Popen(
        [sys.executable, "-m", "training", str(folder.path), "--max-runtime", f"{seconds:.0f}"],
        cwd=source,
        start_new_session=True,  # an interrupt reaches the notebook alone: it is handed on
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines = EventLines(every)
    with _reading(child, say) as last, _handing_on(child):
        while True:
            over = child.poll() is not None
            seen = _tell(folder.progress, seen, lines, say)
            if over:
                break
            time.sleep(_LOOK)
    return Ended(child.returncode, last[-1] if last else "")


def _tell(path: Path, seen: int, lines: EventLines, say: Callable[[str], None]) -> int:
    """Show new events; return how many whole lines were seen."""
    for line in _lines(path, seen):
        seen += 1
        if event := progress.parse(line):
            for text in lines.of(event):
                say(text)
    return seen


def _lines(path: Path, skip: int = 0) -> Iterator[str]:
    """Yield whole lines; one that is being written is left for the next look."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return
    yield from text.split("\n")[skip:-1]


@contextlib.contextmanager
def _reading(child: "subprocess.Popen[str]", say: Callable[[str], None]) -> Iterator[deque[str]]:
    """Show what the child prints while it runs; gives its last lines."""
    last: deque[str] = deque(maxlen=_KEPT)

    def read() -> None:
        assert child.stdout is not None  # noqa: S101  a pipe was asked for
        with child.stdout as told:
            for line in told:
                if line.strip():
                    last.append(line.strip())
                    say(line.rstrip())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield last
    finally:
        thread.join(5)


@contextlib.contextmanager
def _handing_on(child: "subprocess.Popen[str]") -> Iterator[None]:
    """Hand stops on; only a main thread hears signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def heard(_number: int, _frame: object) -> None:
        if child.poll() is None:
            child.terminate()

    before = {one: signal.signal(one, heard) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
