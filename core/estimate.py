"""How long requests will take, from how long others took: the journal's own history, read only.

The measure is seconds for a step of a megapixel: the median over the last jobs of the same unet on
the same host. Steps with a negative prompt (cfg above 1) count twice. What never ran is unknown,
and said to be. Reads any journal since the first version; a missing or strange one is no history.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bridge.request import Request

RECENT = 2_000  # jobs looked at, newest first
LAST = 50  # of them that count, per unet and host
_QUERY = """
SELECT request, host, started, sent, finished FROM jobs
WHERE state = 'done' AND finished IS NOT NULL ORDER BY finished DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a host was with a unet.

    Attributes:
        host: the journal's name of it.
        seconds: for one step of a megapixel.
        jobs: how many it is the median of.
    """

    host: str
    seconds: float
    jobs: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a list of requests takes on one host, in seconds."""

    host: str
    seconds: float
    jobs: int


def paces(state: Path, unet: str) -> list[Pace]:
    """Return how fast each host was with this unet, the one last used first.

    Args:
        state: folder of the journal, which may be missing or in use.
        unet: file name as hosts list it.
    """
    measured: dict[str, list[float]] = defaultdict(list)
    for row in _done(state / "journal.sqlite"):
        found = _measure(row, unet)
        if found is not None and len(measured[row[1]]) < LAST:
            measured[row[1]].append(found)
    return [Pace(host, median(all_), len(all_)) for host, all_ in measured.items() if all_]


def estimates(requests: Sequence[Request], found: Sequence[Pace]) -> list[Estimate]:
    """Return what the requests take on each host that has a history."""
    work = sum(map(_work, requests))
    return [Estimate(pace.host, work * pace.seconds, pace.jobs) for pace in found]


def _done(journal: Path) -> list[Any]:
    if not journal.is_file():
        return []
    # Without a -wal file nobody writes now and all of it is in the journal itself; opened as
    # "immutable", SQLite then leaves no -wal and -shm of its own behind.
    quiet = not journal.with_name(f"{journal.name}-wal").exists()
    mode = "mode=ro&immutable=1" if quiet else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?{mode}", uri=True)) as db:
            return db.execute(_QUERY, (RECENT,)).fetchall()
    except sqlite3.Error:
        return []  # another program's file, or one that is being made


def _measure(row: Sequence[Any], unet: str) -> float | None:
    """Return a finished job's seconds for a step of a megapixel; ``None`` if it does not count."""
    text, _, started, sent, finished = row
    begun = started or sent
    try:
        fields: Mapping[str, Any] = json.loads(text)
        if fields["unet"] != unet or not begun or finished <= begun:
            return None
        return float(finished - begun) / _work(Request.from_json(text))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # a request of another version


def _work(request: Request) -> float:
    """Return the steps of a megapixel that a request comes to.

    ``denoise`` does not count: ComfyUI's samplers run all the steps over a part of the schedule.
    """
    passes = 2 if request.cfg > 1 else 1
    return request.steps * passes * request.width * request.height * request.batch / 1_000_000
