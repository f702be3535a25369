"""How a run is shown: a live panel on a terminal, plain log lines anywhere else.

The only place that sets up logging. The panel is drawn when something changed, and once a second
while a job runs, so an idle director costs nothing.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler

from core.status import Board, render

REDRAW_AFTER = 0.1  # seconds between two drawings at the least
QUIET = ("httpx", "httpcore", "watchdog", "websocket")  # libraries that report every call


@contextmanager
def shown(board: Board, verbose: bool = False) -> Iterator[None]:
    """Show the board and the log until the block ends."""
    console = Console(stderr=True)
    _set_up_logging(console, verbose)
    if not console.is_terminal:
        yield
        return
    over = threading.Event()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        painter = threading.Thread(target=_paint, args=(board, live, over), daemon=True)
        painter.start()
        try:
            yield
        finally:
            over.set()
            board.changed.set()
            painter.join()
            live.update(render(board.snapshot, time.time()), refresh=True)


def _paint(board: Board, live: Live, over: threading.Event) -> None:
    while not over.is_set():
        live.update(render(board.snapshot, time.time()), refresh=True)
        over.wait(REDRAW_AFTER)
        board.changed.wait(1.0 if board.snapshot.running else None)
        board.changed.clear()


def _set_up_logging(console: Console, verbose: bool) -> None:
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    if console.is_terminal:
        root.addHandler(RichHandler(console=console, show_path=False, log_time_format="%X"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%X"))
        root.addHandler(handler)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
