"""``train status | list | logs | stop | fetch``: what can be asked beside a training's worker.

Nothing here trains; ``stop`` tells the worker, which saves and ends by itself.
"""

import argparse
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

from core import train_report, training_process
from core.journal_file import FILE
from core.run_command import load_settings
from core.training_child import SAVING
from core.training_cloud import LOG as CLOUD_LOG
from core.training_cloud import CloudAway
from core.training_process import LOG
from core.training_record import Phase, State, Training, Where
from core.training_table import Trainings
from core.training_view import Tail
from training.errors import TrainingError
from training.kaggle.values import Want

_PAUSE = 0.2  # seconds between two looks
_PATIENCE = SAVING + 30.0  # seconds for a worker to end
_OVER_THERE = (Phase.RUNNING, Phase.FETCHING)


def known(name: str, state: Path) -> Training | None:
    """Return the newest training of a name, or the one with an id; None if there is none.

    Raises:
        JournalError: the database cannot be used.
    """
    if not (state / FILE).exists():
        return None
    with closing(Trainings(state, time.time)) as table:
        return table.named(name)


def find(name: str, state: Path) -> Training:
    """Return the newest training of a name, or the one with an id.

    Raises:
        TrainingError: there is none.
        JournalError: the database cannot be used.
    """
    if found := known(name, state):
        return found
    there = ", ".join(dict.fromkeys(one.name for one in _all(state)))
    raise TrainingError(
        f"there is no training {name!r}",
        why=f"there are: {there}" if there else "none was begun yet",
        fix="Begin one: director.py train DIR --name NAME --type character",
    )


def status(arguments: argparse.Namespace) -> int:
    """Say how one training stands, or all."""
    state = load_settings(arguments).state
    name = getattr(arguments, "name", None)
    found = [find(name, state)] if name else _all(state)
    if arguments.json:
        for training in found:
            print(json.dumps(train_report.entry(training, *_seen(training)), ensure_ascii=False))
    elif name:
        train_report.one(found[0], *_seen(found[0]))
    else:
        train_report.several([(training, *_seen(training)) for training in found])
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Show what a training's worker, trainer and cloud said."""
    state = load_settings(arguments).state
    training = find(arguments.name, state)
    ends = dict.fromkeys((CLOUD_LOG, LOG), 0)
    for name in ends:
        lines, ends[name] = _from(training.folder / name, 0)
        _say(lines[-arguments.lines :] if arguments.lines > 0 else [])
    while arguments.follow:
        is_over = not training_process.is_at_work(training.folder)
        for name, end in ends.items():
            lines, ends[name] = _from(training.folder / name, end)
            _say(lines)
        if is_over:
            break
        time.sleep(_PAUSE)
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """Stop a training: its worker saves what there is, and ends."""
    settings = load_settings(arguments)
    training = find(arguments.name, settings.state)
    if not training_process.is_at_work(training.folder):
        return _stop_the_dead(training, settings.state)
    print(f"stopping {training.name}; it saves what was trained", flush=True)
    _end_worker(training.id, settings.state)
    training = find(training.id, settings.state)
    print(f"{training.name} is {training.state}, {training.phase}: {training.told}")
    if training.place is Where.KAGGLE and training.phase in _OVER_THERE:
        print(_how_to_cancel(training, arguments))
    return 0


def _stop_the_dead(training: Training, state: Path) -> int:
    if training.state is State.WORKING:
        with closing(Trainings(state, time.time)) as table:
            table.end(training.id, State.STOPPED, "stopped after its worker had died")
    print(f"{training.name} does not run ({training.state})")
    return 0


def _end_worker(training: str, state: Path) -> None:
    """Tell exactly its worker, once, and wait for the run's lock.

    Raises:
        TrainingError: it does not end.
    """
    end, told = time.monotonic() + _PATIENCE, (0, 0)
    with closing(Trainings(state, time.time)) as table:
        while training_process.is_at_work((now := table.get(training)).folder):
            who = (now.pid, now.born)
            if who != told and training_process.terminate(*who):
                told = who
            if time.monotonic() > end:
                fix = f"Look at {now.folder / LOG}, or end process {now.pid}"
                raise TrainingError("its worker does not end", why="it was told to", fix=fix)
            time.sleep(_PAUSE)


def _how_to_cancel(training: Training, arguments: argparse.Namespace) -> str:
    from core.training_work import kaggle

    try:
        return kaggle(training, load_settings(arguments), 0.0, time.sleep).cancel()
    except (CloudAway, TrainingError):
        return "The run on Kaggle goes on: open its notebook on kaggle.com and cancel it there"


def fetch(arguments: argparse.Namespace) -> int:
    """Fetch what the newest run in the cloud left, without a worker."""
    from core.training_work import kaggle

    settings = load_settings(arguments)
    training = find(arguments.name, settings.state)
    if training.place is Where.LOCAL:
        raise TrainingError(f"{training.name} is trained here", fix=f"It is in {training.folder}")
    guard = _lock_for_fetching(training)
    try:
        cloud = kaggle(training, settings, 0.0, time.sleep)
        fetched = cloud.fetch(Want.ALL)
    except CloudAway as error:
        raise TrainingError(str(error).rstrip("."), fix="Call this again later") from error
    finally:
        os.close(guard)
    _say([f"fetched {training.folder / name}" for name in fetched.files] or ["nothing is new"])
    return 0


def _lock_for_fetching(training: Training) -> int:
    try:
        return training_process.take(training.folder, patience=0.0)
    except TrainingError as error:
        fix = f"See director.py train status {training.name}"
        raise TrainingError("its worker fetches by itself", fix=fix) from error


def _all(state: Path) -> list[Training]:
    if not (state / FILE).exists():
        return []
    with closing(Trainings(state, time.time)) as table:
        return table.all()


def _seen(training: Training) -> tuple[Tail, bool]:
    tail = Tail(training.folder)
    tail.look()
    return tail, training_process.is_at_work(training.folder)


def _from(path: Path, start: int) -> tuple[list[str], int]:
    """Return a log's whole lines from a place on, and the place after them."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < start:
                start = 0  # it was written anew
            file.seek(start)
            whole = file.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return [], 0
    lines = whole.decode("utf-8", errors="replace").splitlines()
    return lines, start + len(whole) + bool(whole)


def _say(lines: list[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
