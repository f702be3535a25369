"""What an earlier run of the same Kaggle kernel left, so that this one goes on from there.

A kernel's own output is mounted below ``/kaggle/input`` when it is among its sources. Of all run
folders there, those count that trained the same plan and whose LoRA or newest checkpoint is whole;
the one that got furthest wins.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from models import store
from training import checkpoint_files, plan_digest, progress, run_plan
from training.errors import TrainingError
from training.kaggle import found_assets
from training.progress import State
from training.run_folder import RunFolder
from training.run_plan import Plan


@dataclass(frozen=True, slots=True)
class EarlierOutput:
    """A run folder that can be gone on from.

    Attributes:
        folder: where it lies.
        step: updates made.
        done: whether the LoRA is finished.
    """

    folder: RunFolder
    step: int
    done: bool


def find(place: Path, plan: Plan, own: RunFolder) -> EarlierOutput | None:
    """Return the output that got furthest; None where there is none.

    Args:
        place: where outputs are mounted.
        plan: what is trained.
        own: this kernel's run folder, which is one of them when a person runs the cells again.
    """
    folders = [own, *found_assets.outputs(place)]
    found = [earlier for folder in folders if (earlier := judge(folder, plan))]
    return max(found, key=lambda one: (one.done, one.step, one.folder == own), default=None)


def judge(folder: RunFolder, plan: Plan) -> EarlierOutput | None:
    """Return what a run folder is good for; None: nothing."""
    if not _is_of(folder, plan):
        return None
    try:
        status = progress.read_status(folder.status)
    except TrainingError:
        return None
    lora = folder.lora(plan.name)
    finished = status is not None and status.state is State.DONE and lora.is_file()
    if finished and status and store.sha256(lora) == status.sha256:
        return EarlierOutput(folder, plan.recipe.steps, done=True)
    there = checkpoint_files.newest(folder.checkpoints)
    return EarlierOutput(folder, there.step, done=False) if there else None


def take(earlier: EarlierOutput, own: RunFolder, plan: Plan) -> None:
    """Bring an output into this kernel's run folder; a damaged checkpoint stays behind.

    Raises:
        OSError: the disk refuses.
    """
    theirs = earlier.folder
    if theirs == own:
        return
    shutil.rmtree(own.path, ignore_errors=True)
    there = checkpoint_files.newest(theirs.checkpoints)
    wanted = [theirs.progress, theirs.dataset, *sorted(theirs.samples.glob("*.png"))]
    if there is not None:
        wanted += [there.path, there.path.with_suffix(".json")]
    if earlier.done:
        wanted += [theirs.lora(plan.name), theirs.loss_curve, theirs.sheet]
    for path in (*wanted, theirs.status):  # the status last: it speaks of the others
        if path.is_file():
            _copy(path, own.path / path.relative_to(theirs.path))


def put_aside(own: RunFolder, plan: Plan) -> Path | None:
    """Give this kernel's run folder another name if it is of another plan; return that."""
    if not own.path.exists() or _is_of(own, plan):
        return None
    number = 1
    while (aside := own.path.with_name(f"{own.path.name}-before-{number}")).exists():
        number += 1
    return own.path.rename(aside)


def _is_of(folder: RunFolder, plan: Plan) -> bool:
    """Whether a folder's plan trains to the same weights, on whatever pictures."""
    try:
        theirs = run_plan.read_plan(folder.plan)
    except TrainingError:
        return False
    return plan_digest.digest(theirs, "") == plan_digest.digest(plan, "")


def _copy(source: Path, target: Path) -> None:
    """Copy bytes alone: what is mounted is read-only, and a copy of that is not wanted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, temp)
    store.publish(temp, target)
