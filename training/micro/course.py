"""The whole training, stage by stage, from nothing to model files.

Each stage keeps a checkpoint in the working folder and is skipped once it is done, so whatever
stops a training, the same call goes on with it.
"""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from models import store
from models.micro import micro_set
from training.micro import export, networks, sampling, scores, text_stage, unet_stage, vae_stage
from training.micro.examples import Examples, prepare
from training.micro.networks import Networks
from training.micro.recipe import Recipe
from training.micro.stage import Progress, Stage
from training.randomness import generator

logger = logging.getLogger(__name__)

LOOKED_AT = 500
"""Unet steps between two looks at what it draws."""

Tell = Callable[[Progress], None]


class OtherRecipeError(Exception):
    """The working folder holds the training of another recipe."""


def run(recipe: Recipe, work: Path, device: str, tell: Tell, *, fast: bool = True) -> None:
    """Train all stages and write the model files to ``work/models``.

    Args:
        recipe: what is done.
        work: checkpoints, pictures and the curve.
        device: ``cpu`` or ``cuda``.
        tell: given the progress.
        fast: compile the unet, where a compiler is at hand.

    Raises:
        OSError: the disk refuses.
        OtherRecipeError: the folder holds the training of another recipe.
    """
    work.mkdir(parents=True, exist_ok=True)
    _same_recipe(recipe, work / "recipe.json")
    made = networks.make(recipe.seed)
    for network in (made.t5, made.clip, made.vae, made.unet):
        network.to(device)
    _train(text_stage.stage(recipe, made.t5, made.clip), work, tell)
    _train(vae_stage.stage(recipe, made.vae), work, tell)
    _train(vae_stage.decoder(recipe, made.vae), work, tell)
    examples = prepare(recipe, made, work)
    call = torch.compile(made.unet) if fast and shutil.which("c++") else made.unet
    watch = Watch(made, examples, work)
    _train(
        unet_stage.flow(recipe, made.unet, call, examples), work, watch.after(tell, guidance=1.0)
    )
    _train(unet_stage.guided(recipe, made.unet, call, examples), work, watch.after(tell))
    export.write(made, examples.scale, micro_set.place(work / "models"))


def _train(stage: Stage, work: Path, tell: Tell) -> None:
    for network in stage.modules.values():
        network.requires_grad_(requires_grad=True).train()
    for progress in stage.run(work):
        tell(progress)
    for network in stage.modules.values():
        network.requires_grad_(requires_grad=False).eval()


def _same_recipe(recipe: Recipe, path: Path) -> None:
    own = json.dumps(asdict(recipe), indent=2)
    if path.is_file() and path.read_text(encoding="utf-8") != own:
        raise OtherRecipeError(f"{path.parent} holds the training of another recipe")
    store.atomic_write(path, own.encode())


class Watch:
    """Looks, from time to time, at what the unet draws.

    Args:
        made: all networks.
        examples: know the latents' scale.
        work: gets ``curve.csv`` and a sheet of pictures for every look.
    """

    def __init__(self, made: Networks, examples: Examples, work: Path) -> None:
        self._made, self._scale, self._work = made, examples.scale, work
        self._scenes = scores.watched()

    def after(self, tell: Tell, guidance: float = sampling.GUIDANCE) -> Tell:
        """Return a ``tell`` that also looks."""

        def told(progress: Progress) -> None:
            tell(progress)
            if progress.step % LOOKED_AT == 0 or progress.step == progress.steps:
                self.look(progress, guidance)

        return told

    def look(self, progress: Progress, guidance: float) -> None:
        """Draw, read and keep."""
        texts = [scene.caption() for scene in self._scenes]
        noise = generator(0, "watched")
        drawn = sampling.draw(self._made, self._scale, texts, noise, guidance)
        found = scores.score(self._scenes, drawn)
        name = f"{progress.stage}-{progress.step:05}"
        scores.sheet(drawn).save(self._work / f"{name}.png")
        line = f"{name},{found.plain:.3f},{found.mixed:.3f},{found.exact:.3f}\n"
        with (self._work / "curve.csv").open("a", encoding="utf-8") as curve:
            curve.write(line)
        logger.info(
            "%s: large filled %.0f %%, all kinds %.0f %%, with size and style %.0f %%",
            name,
            100 * found.plain,
            100 * found.mixed,
            100 * found.exact,
        )
