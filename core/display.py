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
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler

from core.status import Board, render

LOG_BYTES, LOGS_KEPT = 2_000_000, 5  # size of one log file, and how many older ones stay
REDRAW_AFTER = 0.1  # seconds between two drawings at the least
QUIET = ("httpx", "httpcore", "websocket")  # libraries that report every call


@contextmanager
def shown(board: Board, log: Path, verbose: bool = False) -> Iterator[None]:
    """Show the board and the log until the block ends.

    Args:
        board: what is shown.
        log: file that the log is kept in, too; it turns over by size.
        verbose: show what is usually left out.
    """
    console = Console(stderr=True)
    _set_up_logging(console, log, verbose)
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
        at_work = any(view.running for view in board.snapshot.hosts.values())
        board.changed.wait(1.0 if at_work else None)
        board.changed.clear()


def _set_up_logging(console: Console, log: Path, verbose: bool) -> None:
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    if console.is_terminal:
        root.addHandler(RichHandler(console=console, show_path=False, log_time_format="%X"))
    else:
        root.addHandler(_plain(logging.StreamHandler(sys.stderr), "%X"))
    kept = RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8")
    root.addHandler(_plain(kept, "%Y-%m-%d %X"))
    logging.raiseExceptions = False  # a full disk must not fill the terminal with tracebacks
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _plain(handler: logging.Handler, times: str) -> logging.Handler:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", times))
    return handler
