"""A run's log as lines.

Kaggle keeps it as JSON, ``{"stream_name", "time", "data"}`` for each piece that was printed: an
array once the run is over, server-sent events while it runs. Pieces need not end with their line.
What is no such JSON is text.
"""

import contextlib
import json
import time
from collections.abc import Iterable
from typing import Any

from training.kaggle.account import Account
from training.kaggle.patience import passes, status_of

_LISTEN = 20.0  # seconds for a running log, which is told from its beginning and never ends


def log(account: Account, slug: str) -> list[str]:
    """Return the log's lines so far; none where Kaggle has none.

    Raises:
        CloudError: the Kaggle kernel is gone, or Kaggle cannot be reached.
    """
    name = f"{account.user}/{slug}"
    text = account.ask("reading the run's log", lambda: account.api.kernels_logs(name))
    return parse(text) if text else account.ask("reading the log", lambda: _running(account, name))


def parse(text: str) -> list[str]:
    """Read a log as Kaggle keeps it, whole or cut short."""
    text = text.strip()
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        return _lines(_piece(line) for line in text.splitlines())
    entries = table if isinstance(table, list) else [table]
    return _lines(_data(entry) for entry in entries)


def _piece(line: str) -> str:
    """Return what one line says; entries of a cut array have lines of their own."""
    try:
        return _data(json.loads(line.strip().lstrip("[").rstrip(",]")))
    except (ValueError, RecursionError):
        return f"{line}\n"


def _data(entry: object) -> str:
    """Return what one entry says; an entry of another kind is shown as it is."""
    if isinstance(entry, dict) and isinstance(entry.get("data"), str):
        return str(entry["data"])
    return f"{entry}\n"


def _lines(pieces: Iterable[str]) -> list[str]:
    # A progress bar returns to the line's beginning: only what is left standing is a line.
    whole = "".join(pieces).replace("\r\n", "\n")
    return [line.rpartition("\r")[2] for line in whole.split("\n") if line.strip()]


def _running(account: Account, name: str) -> list[str]:
    """Listen to a running log until it is silent; what was heard by then is the log."""
    pieces: list[str] = []
    end = time.monotonic() + _LISTEN
    with contextlib.suppress(ValueError):  # how the package says that there is no stream
        try:
            for event in account.api.kernels_logs_stream(name):
                pieces.append(f"{_data(event)}")
                if time.monotonic() > end:
                    break
        except Exception as error:
            if not (passes(error) or status_of(error) in (403, 404)):
                raise
    return _lines(piece if piece.endswith("\n") else f"{piece}\n" for piece in pieces)
