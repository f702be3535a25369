"""Writes the LoRA, checks it, and draws what is to be looked at: ``export`` of a run."""

import argparse
import sys

import torch

from training import checkpoints, export, loss_chart, material, progress, sample_sheet
from training.checkpoints import Checkpoint
from training.errors import TrainingError
from training.plan_digest import digest
from training.progress import Happened, Stage, State, Status
from training.stages import stage_process
from training.stages.stage_process import FINISHED, StageProcess


def work(process: StageProcess, _arguments: argparse.Namespace) -> int:
    """Turn the last checkpoint into a file."""
    process.tell(Happened.STAGE)
    process.stands(State.RUNNING)
    folder, plan = process.folder, process.plan
    pictures = process.pictures()
    last = checkpoints.newest(folder.checkpoints, digest(plan, pictures.hash))
    if last is None or last.step != plan.recipe.steps:
        raise TrainingError("the training is not finished", path=folder.checkpoints)
    path = folder.lora(plan.name)
    made = export.write(path, _tensors(last), plan, pictures, process.assets.unet)
    losses = loss_chart.points(progress.read(folder.progress))
    loss_chart.draw(folder.loss_curve, f"{plan.name}: loss over {last.step:,} updates", losses)
    found = material.find(folder, plan, process.assets, pictures)
    sample_sheet.draw(folder.sheet, folder.samples, found.samples)
    process.tell(Happened.NOTE, text=f"{path.name}: {made.layers} layers, all of them load")
    steps = plan.recipe.steps
    progress.write_status(
        folder.status,
        Status(
            state=State.DONE,
            stage=Stage.EXPORT,
            step=steps,
            steps=steps,
            lora=path.relative_to(folder.path).as_posix(),
            sha256=made.sha256,
        ),
    )
    process.tell(Happened.END, step=steps, steps=steps, text="done")
    return FINISHED


def _tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the LoRA of a checkpoint under the names that others load."""
    tensors = checkpoints.read(checkpoint.path)
    return {
        f"transformer.{name.removeprefix('lora/').replace('.default.', '.')}": value
        for name, value in tensors.items()
        if name.startswith("lora/")
    }


if __name__ == "__main__":
    sys.exit(stage_process.run(Stage.EXPORT, work))
