"""Following a training from a terminal: a live panel there, plain lines anywhere else.

It only reads; the worker runs whether or not anybody looks.
"""

import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.live import Live

from core import train_report, training_process, training_view
from core.training_record import State, Training
from core.training_table import Trainings
from core.training_view import Tail
from training.progress import Event, Happened

EXIT_DONE, EXIT_FAILED, EXIT_STOPPED = 0, 1, 130
_PAUSE = 0.5  # seconds between two looks
_PLAIN_EVERY = 10.0  # seconds between two lines about steps


def follow(training: str, table: Trainings) -> int:
    """Show a training until it ends.

    Args:
        training: its id.
        table: where it is written down.

    Returns:
        0 if it is done, 1 if it failed or its worker is gone, 130 if it was stopped or we were.
    """
    tail = Tail(table.get(training).folder)
    console = Console()
    try:
        if console.is_terminal:
            _live(training, table, tail, console)
        else:
            _plain(training, table, tail)
    except KeyboardInterrupt:
        train_report.leaving(table.get(training))
        return EXIT_STOPPED
    return _end(table.get(training))


def _end(training: Training) -> int:
    if training.state is State.WORKING:
        train_report.gone(training)
        return EXIT_FAILED
    train_report.ended(training)
    return {State.DONE: EXIT_DONE, State.FAILED: EXIT_FAILED}.get(training.state, EXIT_STOPPED)


def _is_over(training: str, table: Trainings) -> bool:
    """Tell whether it ended, or its worker did without a word."""
    folder = table.get(training).folder
    at_work = training_process.is_at_work(folder)
    return not at_work or table.get(training).state is not State.WORKING


def _live(training: str, table: Trainings, tail: Tail, console: Console) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            is_over = _is_over(training, table)
            tail.look()
            now = table.get(training)
            live.update(train_report.panel(now, tail.view, not is_over), refresh=True)
            if is_over:
                return
            time.sleep(_PAUSE)


def _plain(training: str, table: Trainings, tail: Tail) -> None:
    said, next_line = "", 0.0
    while True:
        is_over = _is_over(training, table)
        now = table.get(training)
        events = tail.look()
        if (head := f"{now.phase}{f': {now.told}' if now.told else ''}") != said and not is_over:
            _say(head)
            said = head
        for event in events:
            if line := _told(event):
                _say(line)
        if events and tail.view.step and time.monotonic() >= next_line:
            _say(training_view.steps_line(tail.view))
            next_line = time.monotonic() + _PLAIN_EVERY
        if is_over:
            return
        time.sleep(_PAUSE)


def _told(event: Event) -> str:
    """Say what is worth a line of its own."""
    match event.event:
        case Happened.STAGE:
            return str(event.stage)
        case Happened.SAMPLE:
            return f"sample {event.file}"
        case Happened.NOTE | Happened.SKIP:
            return event.text
        case _:
            return ""


def _say(line: str) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
