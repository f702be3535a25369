"""Gathers updates into events: one a second is enough for anyone who looks."""

import time

import torch

from training.progress import Happened
from training.stages.stage_process import StageProcess
from training.trainer import Made, Trainer, rate

EVERY = 1.0
"""Seconds between two events."""


class Told:
    """Tells a run's progress."""

    def __init__(self, process: StageProcess, trainer: Trainer) -> None:
        self._process, self._trainer = process, trainer
        self._begun = self._last = time.monotonic()
        self._updates = 0
        self._losses: list[float] = []

    def made(self, made: Made) -> None:
        """Hear of an update."""
        self._updates += 1
        if made.skipped:
            text = f"left out: the gradient was not finite; the loss's scale is {self._scale:g}"
            self._process.tell(Happened.SKIP, step=made.step, text=text)
        else:
            self._losses.append(made.loss)
        if time.monotonic() - self._last >= EVERY:
            self.rest()

    def rest(self) -> None:
        """Tell what was not told yet."""
        if not self._losses:
            return
        step, recipe = self._trainer.standing.step, self._trainer.recipe
        self._last = time.monotonic()
        self._process.tell(
            Happened.STEP,
            step=step,
            steps=recipe.steps,
            loss=sum(self._losses) / len(self._losses),
            rate=rate(recipe, step - 1),
            seconds=(self._last - self._begun) / self._updates,
            vram=_peak(self._process.device),
        )
        self._losses.clear()

    @property
    def _scale(self) -> float:
        return self._trainer.standing.scale


def _peak(device: torch.device) -> int:
    """Return the most bytes of a card that tensors took; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
