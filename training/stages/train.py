"""Trains the LoRA, from its newest checkpoint on: ``train`` of a run."""

import argparse
import sys
import time

import torch

from training import adapter, checkpoint_files, checkpoints, material, plan_digest, prior
from training.bases import base
from training.batches import Batches
from training.progress import Happened, Stage, State
from training.ranks import Ranks, meet
from training.sample_pictures import SamplePictures
from training.stages import stage_process
from training.stages.stage_process import FINISHED, StageProcess
from training.told import Told
from training.trainer import Made, Material, Trainer, prior_count

_TOLD = 128  # prior pictures between two notes


def work(process: StageProcess, arguments: argparse.Namespace) -> int:
    """Load the base, go on from the newest checkpoint, train."""
    process.tell(Happened.STAGE)
    process.stands(State.RUNNING, 0, process.plan.recipe.steps)
    pictures = process.pictures()
    found = material.find(process.folder, process.plan, process.assets, pictures)
    ranks = meet(arguments.rank, arguments.world, arguments.meet, process.device)
    loaded = base.load(
        process.assets.unet, process.plan.backend, process.plan.recipe.precision, process.device
    )
    kept = _prior(process, found, loaded, ranks)
    if prior_count(process.plan.recipe) and kept is None:
        return process.paused(0, process.plan.recipe.steps)
    recipe = process.plan.recipe
    adapter.put_on(loaded, recipe.rank, recipe.targets, recipe.seed)
    batches = Batches(found.pictures, recipe.batch, recipe.seed)
    trainer = Trainer(loaded, recipe, Material(found.cache, batches, kept), ranks)
    digest = plan_digest.digest(process.plan, pictures.hash)
    _go_on(process, trainer, digest)
    return _Course(process, trainer, SamplePictures(process, loaded, found), ranks, digest).run()


def _prior(
    process: StageProcess, found: material.RunMaterial, loaded: base.Base, ranks: Ranks
) -> prior.Prior | None:
    """Draw what the base is not to forget; the first process does, the others wait."""
    recipe = process.plan.recipe
    if not prior_count(recipe):
        return None
    if ranks.rank == 0:
        for count in prior.draw(found.cache, loaded, found.base, found.prior, recipe):
            if count % _TOLD == 0 or count == recipe.prior:
                process.tell(Happened.NOTE, text=f"drew {count} of {recipe.prior} prior pictures")
            if process.stop_wanted() and count < recipe.prior:
                return None
    ranks.together()
    return prior.read(found.cache, found.base, found.prior, recipe)


def _go_on(process: StageProcess, trainer: Trainer, digest: str) -> None:
    """Go on from the newest checkpoint, if there is one."""
    there = checkpoint_files.newest(process.folder.checkpoints, digest)
    if there is not None:
        checkpoints.restore(there, trainer.standing)
        process.tell(Happened.NOTE, text=f"goes on from update {there.step}")


class _Course:
    """The updates, with what happens between them."""

    def __init__(
        self,
        process: StageProcess,
        trainer: Trainer,
        samples: SamplePictures,
        ranks: Ranks,
        digest: str,
    ) -> None:
        self._process, self._trainer, self._samples = process, trainer, samples
        self._ranks, self._digest = ranks, digest
        self._saved_at, self._saved_step = time.monotonic(), trainer.standing.step
        self._told = Told(process, trainer)

    def run(self) -> int:
        """Train to the end, or to a stop."""
        recipe = self._process.plan.recipe
        if self._trainer.standing.step == 0:
            self._draw(0)
        for made in self._trainer.updates():
            self._told.made(made)
            self._between(made)
            self._ranks.stop_wanted = self._process.stop_wanted()
            if self._ranks.stopping or (self._ranks.world == 1 and self._ranks.stop_wanted):
                return self._stop()
        self._told.rest()
        self._save()
        self._draw(recipe.steps)
        self._ranks.leave()
        return FINISHED

    def _between(self, made: Made) -> None:
        recipe = self._process.plan.recipe
        if time.monotonic() - self._saved_at > recipe.checkpoint_minutes * 60:
            self._save()
        if recipe.sample_every and made.step % recipe.sample_every == 0 != recipe.steps - made.step:
            self._draw(made.step)

    def _stop(self) -> int:
        self._told.rest()
        self._save()
        self._ranks.leave()
        return self._process.paused(self._trainer.standing.step, self._process.plan.recipe.steps)

    def _save(self) -> None:
        step, steps = self._trainer.standing.step, self._process.plan.recipe.steps
        if self._ranks.rank == 0 and step != self._saved_step:
            checkpoints.write(
                self._process.folder.checkpoints, self._trainer.standing, self._digest
            )
            self._process.tell(Happened.CHECKPOINT, step=step, steps=steps)
            self._process.stands(State.RUNNING, step, steps)
        self._saved_at, self._saved_step = time.monotonic(), step

    def _draw(self, step: int) -> None:
        """Draw samples; they draw from generators of their own, so weights do not depend on it."""
        if self._ranks.rank == 0:
            with torch.random.fork_rng(devices=[]):
                self._samples.draw(step)


if __name__ == "__main__":
    sys.exit(stage_process.run(Stage.TRAIN, work))
