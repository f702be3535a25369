"""Looks at pictures, captions, model files before anything is loaded: ``validate`` of a run."""

import argparse
import sys

from models import base_shape, store
from training.dataset import picture_set
from training.errors import TrainingError
from training.progress import Happened, Stage, State
from training.stages import stage_process
from training.stages.stage_process import FINISHED, StageProcess


def work(process: StageProcess, _arguments: argparse.Namespace) -> int:
    """Check, and write the list of pictures down."""
    process.tell(Happened.STAGE)
    process.stands(State.RUNNING)
    _check_base(process)
    pictures = picture_set.read(process.assets.pictures, process.plan.trigger)
    picture_set.write(process.folder.dataset, pictures)
    process.tell(Happened.NOTE, text=f"{len(pictures.items)} pictures, {process.plan.base_name}")
    return FINISHED


def _check_base(process: StageProcess) -> None:
    """Refuse another base than the one that was planned for; a shape that is no Flux, too."""
    assets, plan = process.assets, process.plan
    base_shape.read(assets.unet)
    for path in (assets.clip_l, assets.t5, assets.vae):
        if not path.is_file():
            raise TrainingError("there is no such file", path=path)
    cache = process.folder.path / "hashes.json"
    if plan.base_sha256 and store.cached_sha256(assets.unet, cache) != plan.base_sha256:
        raise TrainingError(
            "this is not the base that the training was planned for",
            path=assets.unet,
            why=f"its SHA-256 is not {plan.base_sha256[:12]}...",
            fix="Name the file that will render; a LoRA learns the rounding of its own base",
        )


if __name__ == "__main__":
    sys.exit(stage_process.run(Stage.VALIDATE, work))
