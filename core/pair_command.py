"""``director.py pair``: make, show, list, remove named pairs, and prune what they published.

What a pair is made of and where it goes is :mod:`core.pair_making`'s; here is what the user types
and what is printed by :mod:`core.pair_report`.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from configs import settings as configs
from configs.settings import Settings
from core import pair_report, prepare
from core.lora_strength import lora_and_strength
from core.pair_files import Wanted
from core.pair_making import PairMaker, wanted_again
from core.pair_report import Shown
from core.pair_state import Sight
from core.run_command import refuse_unsafe
from models import store
from models.errors import ModelError
from models.pair_shelf import PairShelf
from models.safe_copy import Report

EXIT_FAILED = 1
_MAKING = ("unet", "lora", "trigger", "clip_l", "t5", "vae", "to", "again")


class PairUsageError(ModelError):
    """Options that do not go together."""


def run(arguments: argparse.Namespace) -> int:
    """Do what the options say.

    Returns:
        0, or 1 where a pair that was asked for cannot be used as it is.

    Raises:
        ConfigError, ModelError, JournalError, OSError
    """
    folders = {"models": str(arguments.models.resolve()) if arguments.models else None}
    settings = configs.load(arguments.config, {"folders": folders})
    making = [name for name in _MAKING if getattr(arguments, name)]
    _check_together(arguments, making)
    if arguments.prune or arguments.remove or making:
        refuse_unsafe(settings.state)
        return _change(arguments, settings)
    return _show(arguments, settings)


def _check_together(arguments: argparse.Namespace, making: Sequence[str]) -> None:
    """Refuse what cannot be meant."""
    acts = [name for name in ("remove", "prune") if getattr(arguments, name)]
    named = bool(arguments.name)
    if len(acts) + bool(making) > 1:
        raise PairUsageError(f"--{acts[0]} goes with no other option", fix="Do one at a time")
    if arguments.prune and named:
        raise PairUsageError("--prune is for all pairs", fix="Leave the name out")
    if (making or arguments.remove) and not named:
        raise PairUsageError("which pair?", fix="Name it: director.py pair NAME ...")
    if arguments.again and len(making) > 1 + ("to" in making):
        fix = "Give all options anew, or --again alone (with --to for more folders)"
        raise PairUsageError("--again makes a pair of the files it was made of", fix=fix)


def _change(arguments: argparse.Namespace, settings: Settings) -> int:
    with _progress(arguments.json) as report, _tidy_when_terminated():
        maker = PairMaker(settings, report)
        if arguments.prune:
            told = partial(pair_report.pruned, maker.prune())
        elif arguments.remove:
            told = partial(pair_report.removed, arguments.name, maker.remove(arguments.name))
        else:
            told = partial(pair_report.made, maker.make(_wanted(arguments, settings)))
    told(as_json=arguments.json)
    return 0


def _wanted(arguments: argparse.Namespace, settings: Settings) -> Wanted:
    targets = tuple(path.absolute() for path in arguments.to or ())
    if not targets and settings.host.models:
        targets = (settings.host.models,)
    if arguments.again:
        before = wanted_again(PairShelf(settings.folders.models).load(arguments.name))
        return replace(before, targets=tuple(dict.fromkeys([*before.targets, *targets])))
    return Wanted(
        name=arguments.name,
        unet=arguments.unet or "",
        loras=tuple(map(lora_and_strength, arguments.lora or ())),
        trigger=(arguments.trigger or "").strip(),
        text_encoders=(arguments.clip_l or "", arguments.t5 or ""),
        vae=arguments.vae or "",
        targets=targets,
    )


def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    shelf = PairShelf(settings.folders.models)
    names = [arguments.name] if arguments.name else shelf.names()
    cache = settings.state / prepare.HASHES
    sight = Sight(settings.folders.models, lambda path: store.cached_sha256(path, cache))
    if arguments.name:
        shelf.load(arguments.name)  # an unknown one is an error, not a line in a list
    shown = [_looked_at(name, shelf, sight) for name in names]
    if arguments.name:
        pair_report.shown(shown[0], arguments.json)
    else:
        pair_report.listed(shown, settings.pair, arguments.json)
    sys.stdout.flush()
    return EXIT_FAILED if any(not one.is_fine for one in shown) else 0


def _looked_at(name: str, shelf: PairShelf, sight: Sight) -> Shown:
    try:
        pair = shelf.load(name)
        return Shown(name, pair, tuple(sight.states(pair)), "")
    except ModelError as error:
        return Shown(name, None, (), str(error))


@contextmanager
def _progress(as_json: bool) -> Iterator[Report]:
    """Show what is being done, on stderr and only where somebody sees it."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda _what, _share: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def report(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        yield report


@contextmanager
def _tidy_when_terminated() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: without a half-made copy left behind."""
    before: Any = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
