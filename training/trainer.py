"""The training itself: one update after the other, from wherever it was stopped.

What an update sees depends on the seed and its number alone, so a training that was killed goes on
to the very same LoRA. Flow matching as FLUX.1 was trained: between picture and noise, at a level
that is drawn, the unet is to tell the direction from one to the other (raw, unweighted).

The loss is scaled in float16, whose small gradients would vanish (a T4 has no bfloat16). An update
whose gradient is not finite is left out and the scale halved; many in a row end the training.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import mse_loss
from torch.optim import AdamW, Optimizer

from host import flux
from training import examples, timesteps
from training.adapter import parameters
from training.bases.base import Base
from training.batches import Batches
from training.checkpoints import Standing
from training.errors import TrainingError
from training.examples import Examples
from training.latent_cache import LatentCache
from training.loss_scale import LossScale
from training.prior import Prior
from training.randomness import generator
from training.ranks import Ranks
from training.recipe import Optimizer as Choice
from training.recipe import Recipe

MOST_SKIPPED = 20
"""Updates in a row that may be left out."""


@dataclass(frozen=True, slots=True)
class Made:
    """One update.

    Attributes:
        step: its number, from 1 on.
        loss: mean over its pictures, prior included.
        norm: length of the gradient before it was clipped.
        skipped: whether it was left out, as the gradient was not finite.
    """

    step: int
    loss: float
    norm: float
    skipped: bool


@dataclass(frozen=True, slots=True)
class Material:
    """What is trained on.

    Attributes:
        cache: of encoded pictures and captions.
        batches: of the pictures.
        prior: what the base is not to forget; None for nothing.
    """

    cache: LatentCache
    batches: Batches
    prior: Prior | None


class Trainer:
    """A LoRA on a base, an optimiser, and what they are trained on."""

    def __init__(self, base: Base, recipe: Recipe, material: Material, ranks: Ranks) -> None:
        self.base = base
        self.recipe = recipe
        self._material = material
        self._ranks = ranks
        lora = parameters(base)
        self.standing = Standing(0, lora, optimiser(recipe, list(lora.values())))
        self._scale = LossScale(self.standing, used=base.dtype is torch.float16)

    def updates(self) -> Iterator[Made]:
        """Make the updates that are left; between two of them the standing may be saved.

        Raises:
            TrainingError: the gradient is not finite, again and again.
        """
        skipped = 0
        while self.standing.step < self.recipe.steps:
            made = self._update(self.standing.step)
            skipped = skipped + 1 if made.skipped else 0
            if skipped >= MOST_SKIPPED:
                raise TrainingError(
                    f"the gradient was not finite {skipped} times in a row",
                    why=f"at update {made.step}",
                    fix="Lower the learning rate, or use another precision (--set precision=fp32)",
                )
            yield made

    def _update(self, step: int) -> Made:
        accumulate, world = self.recipe.accumulate, self._ranks.world
        for group in self.standing.optimiser.param_groups:
            group["lr"] = rate(self.recipe, step)
        self.standing.optimiser.zero_grad()
        loss = 0.0
        for turn in range(accumulate):
            number = (step * accumulate + turn) * world + self._ranks.rank
            loss += self._backward(number) / accumulate
        values = list(self.standing.lora.values())
        loss = self._ranks.average(values, loss)
        norm, finite = self._scale.unscale(values, self.recipe.clip)
        if finite:
            self.standing.optimiser.step()
        self.standing.step = step + 1
        return Made(step + 1, loss, norm, not finite)

    def _backward(self, number: int) -> float:
        """Add the gradient of batch ``number``; return its loss."""
        recipe, material = self.recipe, self._material
        batch = material.batches.batch(number)
        own = examples.of(material.cache, batch, recipe.caption_dropout, recipe.seed, number)
        total = self._scaled(self._lesson(own, number))
        if material.prior is not None:
            count = prior_count(recipe)
            kept = material.prior.some(count, recipe.seed, number)
            total += self._scaled(self._reminder(kept, number))
        return total

    def _scaled(self, loss: torch.Tensor) -> float:
        """Add a loss's gradient, as large as float16 bears it; return the loss itself."""
        torch.autograd.backward(loss * (self.standing.scale / self.recipe.accumulate))
        return loss.item()

    def _lesson(self, own: Examples, number: int) -> torch.Tensor:
        """How far the unet is from telling noise from picture."""
        noisy, level, noise = self._noisy(own, "noise", number)
        return mse_loss(self._guess(own, noisy, level), noise - own.latents.to(self.base.device))

    def _reminder(self, kept: Examples, number: int) -> torch.Tensor:
        """How far the LoRA moves the unet from what it told by itself."""
        noisy, level, _ = self._noisy(kept, "prior noise", number)
        with torch.no_grad():
            self.base.unet.transformer.disable_adapters()
            before = self._guess(kept, noisy, level)
            self.base.unet.transformer.enable_adapters()
        return mse_loss(self._guess(kept, noisy, level), before)

    def _noisy(
        self, own: Examples, purpose: str, number: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return latents with noise, how much of it, and the noise alone; all on the device."""
        noises, shape = generator(self.recipe.seed, purpose, number), own.latents.shape
        tokens = shape[-1] * shape[-2] // 4
        recipe = self.recipe
        level = timesteps.draw(recipe.timesteps, shape[0], tokens, recipe.shift, noises)
        noise = torch.randn(shape, generator=noises)
        mix = level[:, None, None, None]
        noisy = (1 - mix) * own.latents + mix * noise
        device = self.base.device
        return noisy.to(device), level.to(device), noise.to(device)

    def _guess(self, own: Examples, noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        prompts = own.to(self.base.device).prompts(self.recipe.guidance, self.base.dtype)
        with self.base.autocast():
            return flux.velocity(self.base.unet, noisy, level, prompts)


def prior_count(recipe: Recipe) -> int:
    """Return how many prior pictures come with each batch."""
    share = recipe.prior_share
    if not recipe.prior or not share:
        return 0
    return max(1, round(recipe.batch * share / (1 - share)))


def rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of an update, from 0 on: warm up, flat, down to 0."""
    left = (recipe.steps - step) / max(1.0, recipe.steps * recipe.decay)
    return recipe.learning_rate * min(1.0, (step + 1) / max(1, recipe.warmup), left)


def optimiser(recipe: Recipe, values: list[torch.nn.Parameter]) -> Optimizer:
    """Return a fresh optimiser.

    Raises:
        TrainingError: bitsandbytes is not there.
    """
    if recipe.optimizer is Choice.ADAMW:
        return AdamW(values, recipe.learning_rate, (0.9, 0.999), weight_decay=recipe.weight_decay)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise TrainingError(
            "the optimiser adamw8bit needs bitsandbytes",
            why=str(error),
            fix="Install it (pip install bitsandbytes==0.50.2), or use --set optimizer=adamw",
        ) from error
    made: Optimizer = AdamW8bit(
        values, recipe.learning_rate, (0.9, 0.999), weight_decay=recipe.weight_decay
    )
    return made
