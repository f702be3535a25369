"""``director.py train``: begin a training or go on with one, and follow it.

What it is made of is :mod:`core.training_setup`'s; the work is its worker's, in another process.
The other verbs are :mod:`core.train_verbs`'.
"""

import argparse
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from configs.settings import Settings
from core import (
    train_follow,
    train_report,
    train_verbs,
    training_pair,
    training_pictures,
    training_process,
    training_setup,
)
from core.run_command import load_settings, refuse_unsafe
from core.training_record import PHASES, State, Training, Where
from core.training_setup import TRAININGS, Report, Setup, Wanted
from core.training_table import Trainings
from training import run_plan
from training.errors import TrainingError
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend

_FRESH = "Choose another --name, or train anew with --fresh"


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says.

    Raises:
        ConfigError, ModelError, PrepareError, JournalError, TrainingError, OSError
    """
    return _VERBS[arguments.verb](arguments)


def start(arguments: argparse.Namespace) -> int:
    """Begin a training, or go on with the one of that name."""
    settings = load_settings(arguments)
    if not arguments.pictures.is_dir():
        return _go_on(_meant(arguments, settings.state), settings, arguments)
    if not arguments.name or not arguments.type:
        fix = "Say it so: director.py train DIR --name ohwx --type character (or style, concept)"
        raise TrainingError("a new training needs a --name and a --type", fix=fix)
    refuse_unsafe(settings.state)
    wanted = _wanted(arguments, settings)
    with _shown() as report:
        pictures = training_pictures.fingerprint(wanted.pictures)
        setup = training_setup.find(wanted, settings, report)
    if arguments.write_notebook:
        return _write_notebook(arguments.write_notebook, setup, settings, arguments.max_runtime)
    with closing(Trainings(settings.state, time.time)) as table, _one_at_a_time(settings.state):
        training = _found_or_made(wanted, setup, pictures, table, settings, arguments.fresh)
    train_report.config(setup, wanted, training)
    return _go_on(training, settings, arguments)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a training that stopped, failed, or whose worker died."""
    settings = load_settings(arguments)
    return _go_on(train_verbs.find(arguments.name, settings.state), settings, arguments)


def _wanted(arguments: argparse.Namespace, settings: Settings) -> Wanted:
    return Wanted(
        pictures=arguments.pictures.absolute(),
        name=arguments.name,
        preset=Preset(arguments.type),
        place=Where(arguments.on or settings.training.place),
        changed=training_setup.overrides(arguments.set),
        trigger=arguments.trigger.strip(),
        backend=Backend(arguments.backend) if arguments.backend else None,
        unet=arguments.unet,
    )


def _meant(arguments: argparse.Namespace, state: Path) -> Training:
    """Return the training that is named where a folder would stand; nothing else may be said.

    Raises:
        TrainingError: it is neither.
    """
    given = arguments.pictures
    known = train_verbs.known(str(given), state)
    if known is None:
        fix = "Put pictures into a folder, captions beside them, and name that"
        raise TrainingError("there is no such folder of pictures", path=given, fix=fix)
    if arguments.name or arguments.type or arguments.set:
        fix = f"Leave the options out to go on with it: director.py train {given}"
        raise TrainingError(f"{given} is a training, and no folder of pictures", fix=fix)
    return known


def _found_or_made(
    wanted: Wanted,
    setup: Setup,
    pictures: str,
    table: Trainings,
    settings: Settings,
    fresh: bool,
) -> Training:
    before = table.named(wanted.name)
    if before is None or fresh:
        if before is not None and training_process.is_at_work(before.folder):
            fix = f"Stop it first: director.py train stop {wanted.name}"
            raise TrainingError(f"{wanted.name} is being trained", fix=fix)
        training_pair.refuse_taken(wanted.name, settings)
        return _made(wanted, setup, pictures, table, settings.state)
    _refuse_changed(before, wanted, setup, pictures)
    run_plan.write(RunFolder(before.folder).assets, setup.assets)  # files may have moved
    return before


def _made(wanted: Wanted, setup: Setup, pictures: str, table: Trainings, state: Path) -> Training:
    now, number = time.time(), uuid.uuid4().hex[:8]
    training = Training(
        id=number,
        name=wanted.name,
        place=wanted.place,
        phase=PHASES[wanted.place][0],
        state=State.STOPPED,
        folder=state.absolute() / TRAININGS / f"{wanted.name}-{number}",
        pictures=pictures,
        unet=setup.edge,
        created=now,
        moved=now,
    )
    training_setup.make(training.folder, setup)
    table.add(training)
    return training


def _refuse_changed(before: Training, wanted: Wanted, setup: Setup, pictures: str) -> None:
    """The same name goes on with the same training, or not at all."""
    then = run_plan.read_plan(RunFolder(before.folder).plan)
    found = training_setup.differences(then, setup.plan)
    if before.pictures != pictures:
        found.insert(0, "pictures or captions were changed")
    if before.place is not wanted.place:
        found.append(f"it was begun on {before.place}")
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        what = f"{wanted.name} is another training already ({before.state}, {before.phase})"
        raise TrainingError(what, why="; ".join(found[:3]) + more, fix=_FRESH)


def _go_on(training: Training, settings: Settings, arguments: argparse.Namespace) -> int:
    """Make sure that a worker has it, and follow."""
    if training.state is State.DONE:
        train_report.ended(training)
        return 0
    with closing(Trainings(settings.state, time.time)) as table:
        if not training_process.is_at_work(training.folder):
            flags = _flags(arguments) or json.loads(training.flags)
            table.moved(
                training.id, state=State.WORKING, told="", ended=None, flags=json.dumps(flags)
            )
            training_process.start(training.folder, [training.id, *flags])
        if arguments.no_follow:
            train_report.leaving(training)
            return 0
        return train_follow.follow(training.id, table)


def _flags(arguments: argparse.Namespace) -> list[str]:
    """Return the worker's flags: with them, it has the settings that we have."""
    paths = {name: getattr(arguments, name) for name in ("config", "inbox", "outbox", "models")}
    return [
        *(f"--{name}={path.absolute()}" for name, path in paths.items() if path),
        *(f"--host={use}" for use in arguments.host or ()),
        *([f"--max-runtime={arguments.max_runtime:g}"] if arguments.max_runtime else []),
        *([f"--trainer={arguments.trainer}"] if arguments.trainer else []),
    ]


def _write_notebook(path: Path, setup: Setup, settings: Settings, hours: float) -> int:
    from core import training_kaggle
    from training.kaggle import notebook

    hours = hours or settings.training.max_runtime or training_kaggle.USUAL_HOURS
    notebook.write(path, setup.plan, max_runtime=hours * 3600)
    print(f"wrote {path}")
    return 0


@contextmanager
def _shown() -> Iterator[Report]:
    """Show what is being looked up, on stderr and only where somebody sees it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _what, _share: None
        return
    with console.status("looking at the pictures") as status:
        yield lambda what, share: status.update(f"{what} {share:.0%}" if share else what)


@contextmanager
def _one_at_a_time(state: Path) -> Iterator[None]:
    """Two calls with the same name at the same time make one training."""
    folder = state / TRAININGS
    folder.mkdir(parents=True, exist_ok=True)
    guard = training_process.take(folder, patience=10.0)
    try:
        yield
    finally:
        os.close(guard)


_VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "start": start,
    "resume": resume,
    "status": train_verbs.status,
    "list": train_verbs.status,
    "logs": train_verbs.logs,
    "stop": train_verbs.stop,
    "fetch": train_verbs.fetch,
}
