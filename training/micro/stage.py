"""One stage of a training: a loss, walked down step by step, from wherever it was stopped."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from training.micro import checkpoint
from training.micro.recipe import StageRecipe

SAVE_EVERY = 60.0
"""Seconds of training that a stop may cost."""

CLIP = 1.0
_WARM_UP = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stage is.

    Attributes:
        stage: its name.
        step: steps done.
        steps: steps in all.
        loss: mean of the last steps.
        rate: seconds per step, since this run began.
    """

    stage: str
    step: int
    steps: int
    loss: float
    rate: float


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage trains, and on what.

    Attributes:
        name: also its checkpoint's.
        recipe: steps and rates.
        modules: what is trained.
        loss: of a step's batch.
        matrices: names, within the modules, of weights that Muon is to train.
    """

    name: str
    recipe: StageRecipe
    modules: Mapping[str, nn.Module]
    loss: Callable[[int], torch.Tensor]
    matrices: Callable[[str], bool] = field(default=lambda _name: False)

    def run(self, folder: Path, told_every: int = 50) -> Iterator[Progress]:
        """Train to the end, or go on to it; yields now and then, and once at the end.

        Raises:
            OSError: a checkpoint cannot be written.
        """
        path = folder / f"{self.name}.safetensors"
        optimisers = self._optimisers()
        first = checkpoint.read(path, self.modules, optimisers)
        begun = saved = time.monotonic()
        losses: list[float] = []
        for step in range(first, self.recipe.steps):
            losses.append(self._step(step, optimisers))
            now, done = time.monotonic(), step + 1
            if now - saved > SAVE_EVERY or done == self.recipe.steps:
                checkpoint.write(path, done, self.modules, optimisers)
                saved = now
            if done % told_every == 0 or done == self.recipe.steps:
                rate = (now - begun) / (done - first)
                loss = sum(losses) / len(losses)
                yield Progress(self.name, done, self.recipe.steps, loss, rate)
                losses.clear()

    def _step(self, step: int, optimisers: Sequence[Optimizer]) -> float:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * self._slope(step)
            optimiser.zero_grad()
        loss = self.loss(step)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._parameters().values(), CLIP)
        for optimiser in optimisers:
            optimiser.step()
        return loss.item()

    def _slope(self, step: int) -> float:
        """The share of the learning rate at a step: warm up, flat, a straight line to 0."""
        recipe = self.recipe
        left = (recipe.steps - step) / max(1.0, recipe.steps * (1 - recipe.flat))
        return min(1.0, left, (step + 1) / _WARM_UP)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {
            f"{name}.{key}": value
            for name, module in self.modules.items()
            for key, value in module.named_parameters()
            if value.requires_grad
        }

    def _optimisers(self) -> list[Optimizer]:
        recipe, parameters = self.recipe, self._parameters()
        muon = {
            name
            for name, value in parameters.items()
            if recipe.matrix_rate and value.ndim == 2 and self.matrices(name)
        }
        rest = [value for name, value in parameters.items() if name not in muon]
        chosen: list[Optimizer] = []
        if rest:
            chosen.append(AdamW(rest, recipe.rate, (0.9, 0.98), weight_decay=0.0))
        if muon:
            chosen.append(
                Muon(
                    [parameters[name] for name in parameters if name in muon],
                    recipe.matrix_rate,
                    weight_decay=0.0,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        for optimiser in chosen:
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
        return chosen
