"""``director.py dataset``: check the pictures of a training, write a cleaned copy of them.

Brings command line, settings and files together; the checks are :mod:`training.dataset.check`.
What needs OpenCV, Pillow and torch is loaded only here, so the director proper stays small.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import settings as configs
from configs.settings import Settings
from models import store
from models.store import Folder

if TYPE_CHECKING:
    from training.dataset.check import Report
    from training.dataset.preparation import Captioner, Prepared
    from training.dataset.token_count import TokenCounter

REPORTS = Path("dataset-report")
_MICRO = {"t5": "vulcan-micro-t5.safetensors", "clip": "vulcan-micro-clip_l.safetensors"}


def run(arguments: argparse.Namespace) -> int:
    """Do one of the two.

    Returns:
        0 if all is well, 1 if there is an error.

    Raises:
        TrainingError, ConfigError, ModelError: a folder, a setting or a file cannot be used.
        OSError: something cannot be read or written.
    """
    return _ACTIONS[arguments.action](arguments)


def validate(arguments: argparse.Namespace) -> int:
    """Check a folder."""
    from core import dataset_report
    from training.dataset import facts

    page = _page(arguments)
    report = _checked(arguments)
    _write(page, report)
    if arguments.json:
        print(json.dumps({**facts.of(report), "page": str(page)}), flush=True)
    else:
        dataset_report.show(report)
        print(f"page: {page}")
    return int(bool(report.errors))


def prepare(arguments: argparse.Namespace) -> int:
    """Write a cleaned copy."""
    from core import dataset_report
    from training.dataset import facts, preparation

    page = _page(arguments)
    for folder in filter(None, (arguments.out, arguments.crops)):
        preparation.refuse(folder, arguments.folder)  # before minutes are spent on looking
    captioner = _captioner(arguments)
    report = _checked(arguments)
    done = preparation.prepare(
        report,
        arguments.out,
        captioner=captioner,
        again=arguments.caption_again,
        drop_near=arguments.drop_near,
        crops=arguments.crops,
    )
    _write(page, report)
    if arguments.json:
        told = {**facts.of(report), "page": str(page), "prepared": _facts(done)}
        print(json.dumps(told), flush=True)
    else:
        dataset_report.show(report)
        dataset_report.show_prepared(done)
        print(f"page: {page}")
    return 0


def _facts(done: "Prepared") -> dict[str, Any]:
    return {
        "target": str(done.target),
        "written": dict(done.written),
        "captioned": list(done.captioned),
        "left_out": dict(done.left_out),
        "crops": done.crops,
    }


def _checked(arguments: argparse.Namespace) -> "Report":
    from training import recipe
    from training.dataset import check, faces
    from training.recipe import Preset

    preset = Preset(arguments.type)
    yunet = arguments.yunet
    if yunet:
        faces.YuNet(yunet)  # refused here if it is no such file, and not in each thread
    return check.check(
        arguments.folder,
        arguments.name,
        recipe.load(preset, _overrides(arguments.set), micro=arguments.micro),
        preset,
        counters=_counters(arguments),
        detector=(lambda: faces.YuNet(yunet)) if yunet else faces.Haar,
    )


def _overrides(given: Sequence[str]) -> dict[str, object]:
    """Read NAME=VALUE; what is wrong with a name or value says the recipe."""
    pairs = (text.partition("=") for text in given)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _counters(arguments: argparse.Namespace) -> "tuple[TokenCounter, ...]":
    from models.micro import micro_set
    from training.dataset import token_count

    if arguments.micro:
        folder = micro_set.SHIPPED / Folder.TEXT_ENCODERS
        t5, clip = folder / _MICRO["t5"], folder / _MICRO["clip"]
        return token_count.find(arguments.t5 or t5, arguments.clip or clip, None)
    settings = configs.load(arguments.config)
    names = settings.model.text_encoders
    t5_name = next((name for name in names if "t5" in name.lower()), names[-1])
    clip_name = next((name for name in names if name != t5_name), names[0])
    return token_count.find(
        arguments.t5 or _encoder(settings, t5_name),
        arguments.clip or _encoder(settings, clip_name),
        settings.folders.models,
    )


def _encoder(settings: Settings, name: str) -> Path | None:
    """Return a text encoder's file if it is there; captions can be judged without."""
    places = store.places(settings.folders.models, Folder.TEXT_ENCODERS)
    return next((place / name for place in places if (place / name).is_file()), None)


def _captioner(arguments: argparse.Namespace) -> "Captioner | None":
    if not arguments.caption:
        return None
    from training.dataset import captioner

    kind = captioner.Kind(arguments.caption)
    return captioner.load(kind, arguments.captioner, download=arguments.download)


# --- the page -------------------------------------------------------------------------------------


def _page(arguments: argparse.Namespace) -> Path:
    """Return where the page goes, if nothing else is there.

    Raises:
        TrainingError: a file is in the way.
    """
    from training.dataset.facts import KIND
    from training.errors import TrainingError

    name = re.sub(r"[^\w.-]+", "_", arguments.name).strip(".") or "dataset"
    page: Path = arguments.report or REPORTS / f"{name}.html"
    if page.suffix.lower() != ".html":
        page = page.with_name(f"{page.name}.html")
    for path in (page, page.with_suffix(".json")):
        if path.exists() and (not path.is_file() or KIND not in _beginning(path)):
            raise TrainingError(
                "the report cannot be written there",
                path=path,
                why="something else is there",
                fix="Name another file with --report",
            )
    return page


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(400).decode(errors="replace")


def _write(page: Path, report: "Report") -> None:
    from training.dataset import facts
    from training.dataset import page as pages

    store.atomic_write(page, pages.write(report).encode(errors="replace"))
    content = json.dumps(facts.of(report), indent=1)  # ASCII: any file name survives
    store.atomic_write(page.with_suffix(".json"), content.encode())


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "validate": validate,
    "prepare": prepare,
}
