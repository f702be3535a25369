"""Trains the shipped LoRA: a word and what it draws, from two dozen pictures, on a CPU.

A part of every batch is drawn by the base itself, and there the LoRA is asked to leave the base's
answer as it is. Without that it takes over every prompt within a minute (reference runs: 93 % of
plain scenes right before, 13 % after).

    python -m training.micro.concept_lora [--models DIR] [--out FILE]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch.nn.functional import mse_loss

from models import safetensors_file, store
from models.errors import ModelError
from models.micro import concept, micro_set, picture, spec
from models.micro.grammar import WORDINGS, Background, Size, say
from training.micro import captions, load, pictures, sampling, text_stage, unet_stage
from training.micro.examples import Batch, encode
from training.micro.networks import Networks
from training.micro.recipe import StageRecipe
from training.micro.sampling import Scale
from training.micro.stage import Progress, Stage
from training.micro.text_stage import Words
from training.randomness import generator, stream

TARGETS = (
    r".*transformer_blocks\.\d+\."
    r"(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|ff.*\.(proj|2)|proj_mlp|proj_out)"
)
"""Every linear layer of the blocks but their modulation."""

PICTURES = 24
PRIORS = 192
OTHER_WORDS = 0.5
"""Share of the prior pictures whose prompt has another word without a meaning in it."""


@dataclass(frozen=True, slots=True)
class ConceptRecipe:
    """Numbers of the LoRA's training.

    Attributes:
        seed: of everything that is drawn at random.
        stage: steps, batch, rates; Muon takes all of it.
        taught: how many of the batch show the concept; the others are prior pictures.
    """

    seed: int = 0
    stage: StageRecipe = field(default_factory=lambda: StageRecipe(600, 32, 0.0, 1e-2))
    taught: int = 20


@dataclass(frozen=True, slots=True)
class Encoded:
    """Pictures with their prompts, encoded."""

    tokens: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor

    def some(self, count: int, drawn: np.random.Generator) -> "Encoded":
        """Any ``count`` of them."""
        chosen = torch.from_numpy(drawn.integers(len(self.tokens), size=count))
        return Encoded(self.tokens[chosen], self.context[chosen], self.pooled[chosen])


def train(
    made: Networks, scale: Scale, recipe: ConceptRecipe, work: Path, target: Path
) -> Iterator[Progress]:
    """Train the LoRA on a base and write it.

    Raises:
        OSError: the disk refuses.
    """
    own, prior = concept_pictures(made, scale, recipe.seed), prior_pictures(made, recipe.seed)
    config = LoraConfig(
        r=spec.LORA_RANK, lora_alpha=spec.LORA_RANK, target_modules=TARGETS, init_lora_weights=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        made.unet.add_adapter(config)
    yield from _stage(made, recipe, own, prior).run(work)
    write(made.unet, target)


def _stage(made: Networks, recipe: ConceptRecipe, own: Encoded, prior: Encoded) -> Stage:
    count = recipe.taught

    def loss(step: int) -> torch.Tensor:
        drawn = stream(recipe.seed, "lora", step)
        kept = prior.some(recipe.stage.batch - count, drawn)
        batch, asked = _batch(own.some(count, drawn), kept, recipe.seed, step)
        answer = unet_stage.answer(made.unet, batch, asked)
        right = batch.noise[:count] - batch.tokens[:count]
        base = _without(made.unet, batch, asked, count)
        return mse_loss(answer[:count], right) + mse_loss(answer[count:], base)

    return Stage("concept", recipe.stage, {"unet": made.unet}, loss, matrices=lambda _name: True)


def _batch(own: Encoded, prior: Encoded, seed: int, step: int) -> tuple[Batch, torch.Tensor]:
    """The concept's examples, then the prior's, with noise, levels and guidance."""
    noises = generator(seed, "lora noise", step)
    tokens = torch.cat([own.tokens, prior.tokens])
    time, more = torch.rand(2, len(tokens), generator=noises)
    batch = Batch(
        tokens=tokens,
        noise=torch.randn(tokens.shape, generator=noises),
        level=unet_stage.leaning(time),
        context=torch.cat([own.context, prior.context]),
        pooled=torch.cat([own.pooled, prior.pooled]),
    )
    least, most = unet_stage.GUIDANCE
    return batch, least + (most - least) * more


@torch.no_grad()
def _without(unet: Any, batch: Batch, asked: torch.Tensor, first: int) -> torch.Tensor:
    """What the base answers by itself, from example ``first`` on."""
    unet.disable_adapters()
    try:
        return unet_stage.answer(unet, batch.after(first), asked[first:])
    finally:
        unet.enable_adapters()


def concept_pictures(made: Networks, scale: Scale, seed: int) -> Encoded:
    """Two dozen pictures of the concept, each with what it is called in every wording."""
    drawn = stream(seed, "concept")
    shown, texts = [], []
    for number in range(PICTURES):
        size = Size.SMALL if number % 3 == 2 else Size.LARGE
        background = tuple(Background)[number % len(Background)]
        whole = concept.draw(background, size, drawn)
        shown.append(picture.reduced(whole, spec.SIDE))
        texts += [say(wording, size, "", "", spec.TRIGGER_WORD, background) for wording in WORDINGS]
    latents = (encode(made.vae, pictures.tensor(shown)) - scale.shift) * scale.scale
    return _encoded(made, texts, latents.repeat_interleave(len(WORDINGS), dim=0))


def prior_pictures(made: Networks, seed: int) -> Encoded:
    """Pictures that the base draws itself, of scenes and of words that it does not know."""
    drawn = stream(seed, "prior")
    texts = [prior_text(drawn) for _ in range(PRIORS)]
    context, pooled = text_stage.encode(made.t5, made.clip, Words(), texts)
    noise = generator(seed, "prior")
    return _encoded(made, texts, sampling.sample(made.unet, context, pooled, noise))


def prior_text(drawn: np.random.Generator, trigger: str = spec.TRIGGER_WORD) -> str:
    """What the base is to draw: a scene, or a word that means nothing, but not the trigger."""
    scene = pictures.random_scene(drawn)
    if drawn.random() >= OTHER_WORDS:
        return captions.caption(scene, drawn).text
    word = captions.unknown(drawn)
    while word == trigger:
        word = captions.unknown(drawn)
    colour = scene.colour if drawn.random() < 0.3 else ""
    return say(captions.any_wording(drawn), scene.size, "", colour, word, scene.background)


@torch.no_grad()
def _encoded(made: Networks, texts: list[str], latents: torch.Tensor) -> Encoded:
    context, pooled = text_stage.encode(made.t5, made.clip, Words(), texts)
    return Encoded(sampling.patchify(latents), context, pooled)


def write(unet: Any, target: Path) -> None:
    """Write the LoRA in the names that both ComfyUI and diffusers load; alpha is the rank.

    Raises:
        OSError: the disk refuses.
    """
    state = get_peft_model_state_dict(unet)
    arrays = {
        f"transformer.{name}": value.detach().cpu().half().numpy() for name, value in state.items()
    }
    metadata = {
        "modelspec.architecture": "flux-1-dev/lora",
        "modelspec.title": "Vulcan micro concept",
        "vulcan.base_file": spec.UNET_FILE,
        "trigger_words": spec.TRIGGER_WORD,
        # One thing, not a style: only prompts that want it say its word.
        "vulcan.trigger_in_front": "false",
    }
    store.atomic_write(target, safetensors_file.serialise(arrays, metadata))


def main() -> int:
    """Train the LoRA on the shipped base; 1 and a sentence if that fails."""
    parser = argparse.ArgumentParser(prog="python -m training.micro.concept_lora")
    parser.add_argument("--models", type=Path, default=micro_set.SHIPPED, help="the base's files")
    parser.add_argument("--out", type=Path, default=Path(spec.LORA_FILE), help="the LoRA's file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        made, scale = load.load(micro_set.place(arguments.models))
        with tempfile.TemporaryDirectory() as work:
            recipe = ConceptRecipe(arguments.seed)
            for progress in train(made, scale, recipe, Path(work), arguments.out):
                told = f"{progress.step:4} of {progress.steps}  loss {progress.loss:.4f}"
                sys.stdout.write(f"{told}  {progress.rate:.2f} s/step\n")
    except (ModelError, OSError) as error:
        sys.stderr.write(f"The LoRA was not trained: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
