"""``status``, ``jobs``, ``cancel``, ``retry``, ``pause``, ``resume``, ``prune``.

Each works beside a running director, which is asked over its socket, and without one, on the
journal itself. What they do is :mod:`core.actions`' part.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from core import control, reopening
from core.actions import Actions, Told
from core.input_images import InputImages
from core.job import Job, State
from core.journal import Journal
from core.journal_file import director_at
from core.records import Records
from core.run_command import load_settings, refuse_unsafe
from core.status import duration, queue_line, render, snapshot_from_json

WATCH_EVERY = 1.0  # seconds
ID_SHOWN = 8  # letters of a job's id: enough to name it


def status(arguments: argparse.Namespace) -> int:
    """Say what the director does, once or until Ctrl-C."""
    state = load_settings(arguments).state
    if not arguments.watch:
        _show_status(state, arguments.json)
        return 0
    if arguments.json:
        while True:
            _show_status(state, as_json=True)
            time.sleep(WATCH_EVERY)
    with Live(auto_refresh=False) as live:
        while True:
            live.update(_picture(_look(state)), refresh=True)
            time.sleep(WATCH_EVERY)


def jobs(arguments: argparse.Namespace) -> int:
    """List jobs."""
    records = Records.beside(load_settings(arguments).state)
    try:
        states = tuple(State(name) for name in arguments.state or ())
        listed = records.listed(states, arguments.batch, -1 if arguments.all else arguments.last)
    finally:
        records.close()
    if arguments.json:
        for job in listed:
            print(json.dumps(_job_to_json(job), ensure_ascii=False))
    else:
        Console().print(_job_table(listed) if listed else "no jobs")
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel exactly these jobs."""
    return _act(arguments, {"do": "cancel", "jobs": arguments.job})


def retry(arguments: argparse.Namespace) -> int:
    """Queue failed or cancelled jobs again."""
    return _act(arguments, {"do": "retry", "jobs": arguments.job})


def pause(arguments: argparse.Namespace) -> int:
    """Send no new jobs."""
    return _act(arguments, {"do": "pause", "free": arguments.free})


def resume(arguments: argparse.Namespace) -> int:
    """Send jobs again."""
    return _act(arguments, {"do": "resume"})


def prune(arguments: argparse.Namespace) -> int:
    """Forget jobs that ended long ago."""
    settings = load_settings(arguments)
    days = settings.keep_days if arguments.days is None else arguments.days
    return _act(arguments, {"do": "prune", "days": days})


def _act(arguments: argparse.Namespace, request: Mapping[str, Any]) -> int:
    settings = load_settings(arguments)
    answer = control.ask(settings.state, request) if settings.state.is_dir() else None
    if answer is None:
        answer = _act_alone(settings.state, settings.folders.inbox, request).to_json()
    for line in answer["told"]:
        print(line, file=sys.stdout if answer["ok"] else sys.stderr)
    return 0 if answer["ok"] else 1


def _act_alone(state: Path, inbox: Path, request: Mapping[str, Any]) -> Told:
    """Act on a journal that no director works with."""
    refuse_unsafe(state)
    journal = Journal(state, time.time)
    try:
        images = InputImages(state / "input")
        actions = Actions(
            journal,
            time.time,
            on_ended=lambda job: None,  # settled at the director's next start
            reopen=lambda claim, place: reopening.reopen(inbox, claim, place),
            prune_files=lambda: images.prune(journal.needed_images()),
            crew=None,
        )
        return actions.do(request)
    finally:
        journal.close()


def _look(state: Path) -> dict[str, Any]:
    """Return a running director's own snapshot, or what the journal says without one."""
    answer = control.ask(state, {"do": "status"}) if state.is_dir() else None
    if answer is not None:
        return {"director": director_at(state), **answer["snapshot"]}
    records = Records.beside(state)
    try:
        counts = {str(state): count for state, count in records.counts().items()}
        return {"director": None, "counts": counts, "paused": records.paused()}
    finally:
        records.close()


def _show_status(state: Path, as_json: bool) -> None:
    told = _look(state)
    if as_json:
        print(json.dumps(told), flush=True)
    else:
        Console().print(_picture(told))


def _picture(told: Mapping[str, Any]) -> Any:
    if told["director"] is None:
        counts = {State(name): count for name, count in told["counts"].items()}
        paused = ", paused" if told["paused"] else ""
        return f"no director is running\nqueue   {queue_line(counts)}{paused}"
    return render(snapshot_from_json(told), time.time())


def _job_table(listed: list[Job]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "picture", "prompt", "time"):
        table.add_column(name, no_wrap=True)
    table.columns[0].min_width = ID_SHOWN
    table.columns[1].min_width = max(map(len, State))
    table.columns[3].overflow, table.columns[3].ratio = "ellipsis", 1
    for job in listed:
        name = f"{job.batch}/{job.name}" if job.batch else job.name
        took = duration(job.seconds) if job.seconds else ""
        told = job.error or job.request.prompt
        # As plain text: rich would take brackets in a prompt for markup, and fail on some.
        table.add_row(job.id[:ID_SHOWN], job.state, Text(name), Text(told), took)
    return table


def _job_to_json(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "file": job.file,
        "batch": job.batch,
        "index": job.index,
        "priority": job.priority,
        "host": job.host,
        "attempts": job.attempts,
        "error": job.error,
        "paths": [str(path) for path in job.paths],
        "seconds": job.seconds,
        "sent": job.sent,
        "finished": job.finished,
        "request": json.loads(job.request.to_json()),
    }
