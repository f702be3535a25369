"""A finished LoRA becomes usable: held against the file that will draw with it, filed, paired.

Everything here may be done twice with the same result. A LoRA or pair of the same name that this
training did not make is never replaced.
"""

import shutil
import tempfile
from pathlib import Path

from configs.settings import Settings
from core import lora_inspection, prepare
from core.pair_files import Wanted
from core.pair_making import PairMaker
from models import base_shape, safetensors_file, store
from models.pair_shelf import PairShelf
from models.pairing import Pair
from models.safe_copy import Report
from models.store import Folder
from training import progress
from training.errors import TrainingError
from training.progress import State
from training.run_folder import RunFolder
from training.run_plan import Plan

BASE_KEY = "vulcan.base_sha256"  # in the LoRA's metadata


def refuse_taken(name: str, settings: Settings) -> None:
    """Refuse a name that a LoRA or a pair has already, before hours are spent.

    Raises:
        TrainingError: one has it.
    """
    place = _place(name, settings)
    if place.exists():
        fix = "Choose another --name, or move it away"
        raise TrainingError("there is a LoRA of this name already", path=place, fix=fix)
    if name in PairShelf(settings.folders.models).names():
        fix = f"Choose another --name, or forget the pair: director.py pair {name} --remove"
        raise TrainingError(f"there is a pair {name!r} already", fix=fix)


def check(run: RunFolder, plan: Plan, edge: Path, settings: Settings) -> list[str]:
    """Make sure that all of a LoRA applies to the file that will draw with it.

    Args:
        run: holds the LoRA.
        plan: what it was to be.
        edge: that file.
        settings: whose state folder knows its hash.

    Returns:
        What is worth knowing and no hindrance.

    Raises:
        TrainingError: the LoRA is not there, not what was trained, or does not fit.
        ModelError: it cannot be read.
    """
    path = run.lora(plan.name)
    _refuse_other(run, path)
    found = lora_inspection.inspect(path, base_shape.read(edge))
    if not found.sound:
        raise TrainingError(
            f"the LoRA does not fit {edge.name}",
            path=path,
            why="; ".join(found.reasons[:3]),
            fix="Train it on the file that draws, or draw with the one it was trained on",
        )
    known = store.cached_sha256(edge, settings.state / prepare.HASHES)
    return [*_other_base(path, edge, known), *found.warnings]


def _refuse_other(run: RunFolder, path: Path) -> None:
    """Refuse a file that is not the one whose hash the trainer wrote down."""
    status = progress.read_status(run.status)
    if status is None or status.state is not State.DONE or not path.is_file():
        raise TrainingError("there is no finished LoRA", path=path, fix="Go on with the training")
    if status.sha256 and store.sha256(path) != status.sha256:
        raise TrainingError(
            "this is not the file that was trained",
            path=path,
            why=f"its SHA-256 is not {status.sha256[:12]}...",
            fix="Delete it; then it is made, or fetched, once more",
        )


def _other_base(path: Path, edge: Path, sha256: str) -> list[str]:
    told = safetensors_file.read_header(path).metadata.get(BASE_KEY, "")
    if told in ("", sha256):
        return []
    return [f"it was trained on another base than {edge.name} ({told[:12]}...): look at the sheet"]


def publish(run: RunFolder, plan: Plan, edge: Path, settings: Settings, report: Report) -> Pair:
    """File the LoRA in the models folder and pair it with the file that draws.

    Raises:
        TrainingError: another LoRA or pair has its name.
        ModelError: a file cannot be used.
        OSError: the disk refuses.
    """
    path = _filed(run.lora(plan.name), _place(plan.name, settings))
    _refuse_other_pair(plan.name, store.sha256(path), settings)
    wanted = Wanted(
        name=plan.name,
        unet=str(edge),
        loras=((str(path), 1.0),),
        trigger=plan.trigger,
        targets=(settings.host.models,) if settings.host.models else (),
    )
    return PairMaker(settings, report).make(wanted).pair


def _place(name: str, settings: Settings) -> Path:
    return settings.folders.models / Folder.LORAS / f"{name}.safetensors"


def _filed(source: Path, target: Path) -> Path:
    """Copy the LoRA under its own name, whole or not at all."""
    if target.exists():
        if store.sha256(target) == store.sha256(source):
            return target
        fix = "Move it away, then go on"
        raise TrainingError("another LoRA has this name", path=target, fix=fix)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", suffix=".part", delete=False
    ) as temp:
        with source.open("rb") as content:
            shutil.copyfileobj(content, temp)
        Path(temp.name).chmod(0o644)
    store.publish(Path(temp.name), target)
    return target


def _refuse_other_pair(name: str, sha256: str, settings: Settings) -> None:
    shelf = PairShelf(settings.folders.models)
    if name not in shelf.names() or sha256 in {one.sha256 for one in shelf.load(name).loras}:
        return
    fix = f"Forget it (director.py pair {name} --remove), then go on"
    raise TrainingError(f"another pair has the name {name!r}", fix=fix)
