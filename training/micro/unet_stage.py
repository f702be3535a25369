"""Stages: the unet. First on pictures (rectified flow), then on its own guided answers.

The second is what makes FLUX.1-dev take its guidance as an input: the model learns to answer at
once what classifier-free guidance would make of two answers, one with and one without the prompt
(Meng et al. 2023, On Distillation of Guided Diffusion Models).
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import mse_loss

from training.micro import sampling
from training.micro.examples import Batch, Examples
from training.micro.recipe import Recipe, StageRecipe
from training.micro.stage import Stage
from training.randomness import generator, stream

UNSAID = 0.1
"""How often the prompt is left out: what is learned there is what guidance leads away from."""

LEVEL_SHIFT = 2.2
"""How far the levels trained on lean towards noise, where shape and colour are decided."""

GUIDANCE = (1.0, 6.0)
"""The guidance that is learned; 1 is the plain prompt."""

PUSH = 0.3
"""How much further a guidance of one more leads from the answer without the prompt.

Classifier-free guidance at a scale of 1.5 to 2 drew best here, and FLUX.1's usual guidance is 3.5:
that is then a scale of 1.75.
"""


def flow(recipe: Recipe, unet: Any, call: Any, examples: Examples) -> Stage:
    """The stage on pictures.

    Args:
        recipe: of the whole training.
        unet: what is trained.
        call: the same, or its compiled form.
        examples: what on.
    """

    def loss(step: int) -> torch.Tensor:
        batch = _batch(recipe.seed, "unet", step, recipe.unet, examples, _device(unet))
        ones = torch.ones_like(batch.level)
        return mse_loss(answer(call, batch, ones), batch.noise - batch.tokens)

    return Stage("unet", recipe.unet, {"unet": unet}, loss, in_blocks)


def guided(recipe: Recipe, unet: Any, call: Any, examples: Examples) -> Stage:
    """The stage on its own guided answers; the arguments are those of :func:`flow`."""
    teacher = deepcopy(unet).requires_grad_(requires_grad=False)

    def loss(step: int) -> torch.Tensor:
        batch = _batch(recipe.seed, "guidance", step, recipe.guidance, examples, _device(unet))
        least, most = GUIDANCE
        drawn = torch.rand(len(batch.level), generator=generator(recipe.seed, "asked", step))
        asked = (least + (most - least) * drawn).to(batch.level.device)
        return mse_loss(answer(call, batch, asked), guided_answer(teacher, batch, examples, asked))

    return Stage("guidance", recipe.guidance, {"unet": unet}, loss, in_blocks)


def leaning(time: torch.Tensor) -> torch.Tensor:
    """Levels that lean towards noise, of times that are evenly spread over 0 to 1."""
    return LEVEL_SHIFT * time / (1 + (LEVEL_SHIFT - 1) * time)


def in_blocks(name: str) -> bool:
    """Whether a weight is one of the blocks' own, not their modulation."""
    return "transformer_blocks." in name and ".norm" not in name


@torch.no_grad()
def guided_answer(
    teacher: Any, batch: Batch, examples: Examples, asked: torch.Tensor
) -> torch.Tensor:
    """What two answers, with and without the prompt, make of it under this much guidance."""
    context, pooled = (
        one.to(batch.tokens.device).float().expand(len(batch.level), *one.shape[1:])
        for one in examples.unsaid
    )
    ones = torch.ones_like(asked)
    said = answer(teacher, batch, ones)
    unsaid = answer(teacher, replace(batch, context=context, pooled=pooled), ones)
    scale = 1 + PUSH * (asked[:, None, None] - 1)
    return unsaid + scale * (said - unsaid)


def answer(call: Any, batch: Batch, guidance: torch.Tensor) -> torch.Tensor:
    """What the unet answers to a batch: its guess of noise minus picture."""
    level = batch.level[:, None, None]
    seen = (1 - level) * batch.tokens + level * batch.noise
    with torch.autocast(seen.device.type, torch.bfloat16):
        guess = sampling.velocity(call, seen, batch.level, batch.context, batch.pooled, guidance)
    return guess.float()


def _batch(
    seed: int, purpose: str, step: int, recipe: StageRecipe, examples: Examples, device: Any
) -> Batch:
    drawn, noises = stream(seed, purpose, step), generator(seed, f"{purpose} noise", step)
    chosen = torch.from_numpy(drawn.integers(len(examples.latents), size=recipe.batch))
    context, pooled = examples.context[chosen].float(), examples.pooled[chosen]
    unsaid = torch.from_numpy(drawn.random(recipe.batch) < UNSAID)
    context[unsaid], pooled[unsaid] = examples.unsaid[0].float(), examples.unsaid[1]
    time = torch.rand(recipe.batch, generator=noises)
    tokens = sampling.patchify(examples.latents[chosen].float())
    return Batch(
        tokens=tokens.to(device),
        noise=torch.randn(tokens.shape, generator=noises).to(device),
        level=leaning(time).to(device),
        context=context.to(device),
        pooled=pooled.to(device),
    )


def _device(unet: Any) -> Any:
    return next(unet.parameters()).device
