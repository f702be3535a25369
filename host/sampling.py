"""From noise to a latent, as ComfyUI's KSampler does it for Flux.

Rectified flow: at noise level sigma a latent is ``sigma * noise + (1 - sigma) * picture``, the
model predicts ``noise - picture``, and Euler's method walks the levels down to 0. Levels, noise
and guidance are ComfyUI's, so a seed gives the same picture there (ComfyUI: ModelSamplingFlux,
simple_scheduler, normal_scheduler, prepare_noise, sample_euler).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

SHIFT = 1.15
"""ModelSamplingFlux's shift of the levels towards noise, fixed for FLUX.1 dev and schnell."""

TIMESTEPS = 10_000
"""Levels that the schedulers choose from."""

Velocity = Callable[[torch.Tensor, float], torch.Tensor]
"""Predicts ``noise - picture`` for a latent at a level."""


@dataclass(frozen=True, slots=True)
class Denoised:
    """One step on the way.

    Attributes:
        number: 1 for the first step.
        total: steps in all.
        latent: where the walk is now.
        picture: the model's guess of the end, for previews.
    """

    number: int
    total: int
    latent: torch.Tensor
    picture: torch.Tensor


def shifted(time: torch.Tensor) -> torch.Tensor:
    """Return the noise level at a time from 0 (picture) to 1 (noise)."""
    push = math.exp(SHIFT)
    return push / (push + (1 / time - 1))


def all_levels() -> torch.Tensor:
    """Return every level, rising, float32."""
    return shifted(torch.arange(1, TIMESTEPS + 1, 1) / TIMESTEPS)


def simple(steps: int) -> list[float]:
    """Return the levels of the scheduler ``simple``: evenly spread over the table."""
    levels = all_levels()
    stride = len(levels) / steps
    return [float(levels[-(1 + int(index * stride))]) for index in range(steps)] + [0.0]


def normal(steps: int) -> list[float]:
    """Return the levels of the scheduler ``normal``.

    The table's ends are shifted a second time: ComfyUI takes Flux's levels for times here.
    """
    levels = all_levels()
    times = torch.linspace(float(levels[-1]), float(levels[0]), steps)
    return [float(shifted(time)) for time in times] + [0.0]


def levels_for(scheduler: str, steps: int, denoise: float) -> list[float]:
    """Return the levels to walk through, falling; fewer than two mean that nothing is to be done.

    Args:
        scheduler: ``simple`` or ``normal``.
        steps: model calls.
        denoise: 1 starts at pure noise; less keeps part of the given latent by leaving out the
            first of correspondingly more levels.
    """
    scheduled = {"simple": simple, "normal": normal}[scheduler]
    if denoise > 0.9999:
        return scheduled(steps)
    if denoise <= 0.0:
        return []
    return scheduled(int(steps / denoise))[-(steps + 1) :]


def noise_like(latent: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the noise of a seed: always from the CPU's generator, for the batch as a whole."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(latent.shape, generator=generator, dtype=torch.float32)


def start(latent: torch.Tensor, noise: torch.Tensor, level: float) -> torch.Tensor:
    """Return the latent at the first level."""
    return level * noise + (1.0 - level) * latent


def euler(latent: torch.Tensor, levels: list[float], velocity: Velocity) -> Iterator[Denoised]:
    """Walk down the levels; yield after each step."""
    total = len(levels) - 1
    for index in range(total):
        here, there = levels[index], levels[index + 1]
        direction = velocity(latent, here)
        picture = latent - direction * here
        latent = latent + direction * (there - here)
        yield Denoised(index + 1, total, latent, picture)
