"""The noise levels to walk through, as ComfyUI's schedulers choose them for Flux.

A model has a table of levels; a scheduler picks some, from pure noise (1) down to the picture (0).
The arithmetic is ComfyUI's, float32 where it has float32, so the levels are the same to the last
bit (ComfyUI: ModelSamplingFlux, ModelSamplingDiscreteFlow, calculate_sigmas).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from host.errors import RenderError

DEV_SHIFT = 1.15
"""How far the levels of FLUX.1 dev are shifted towards noise."""

DEV_LEVELS = 10_000
SCHNELL_LEVELS = 1000

MOST_LEVELS = 10_000_000
"""Levels that a scheduler may be asked for; a tiny ``denoise`` asks for many, to use the last."""

Levels = tuple[float, ...]
"""Falling noise levels, each a float32."""


@dataclass(frozen=True, slots=True)
class Table:
    """The levels of a model.

    Attributes:
        levels: all of them, rising, float32.
        shift: how far they are shifted towards noise; None: a level is its time.
    """

    levels: torch.Tensor
    shift: float | None

    def level(self, time: torch.Tensor) -> torch.Tensor:
        """Return the levels at times from 0 (picture) to 1 (noise)."""
        return time if self.shift is None else shifted(time, self.shift)


def shifted(time: torch.Tensor, shift: float) -> torch.Tensor:
    """Return times pushed towards noise.

    Raises:
        RenderError: the shift is beyond what numbers can hold.
    """
    try:
        push = math.exp(shift)
    except OverflowError:
        raise RenderError(
            f"noise levels cannot be shifted by {shift:g}",
            fix="Lower max_shift or base_shift of ModelSamplingFlux",
        ) from None
    return push / (push + (1 / time - 1))


def flux_table(shift: float = DEV_SHIFT) -> Table:
    """Return the table of FLUX.1 dev, and of any Flux behind a ModelSamplingFlux node."""
    return Table(shifted(torch.arange(1, DEV_LEVELS + 1) / DEV_LEVELS, shift), shift)


def schnell_table() -> Table:
    """Return the table of FLUX.1 schnell: fewer levels, not shifted."""
    return Table(torch.arange(1, SCHNELL_LEVELS + 1) / SCHNELL_LEVELS, None)


# --- the schedulers ---


def simple(table: Table, steps: int) -> Levels:
    """Return levels evenly spread over the table."""
    stride = len(table.levels) / steps
    picked = [table.levels[-(1 + int(index * stride))] for index in range(steps)]
    return (*map(float, picked), 0.0)


def normal(table: Table, steps: int) -> Levels:
    """Return levels at evenly spread times.

    The table's ends are shifted a second time: ComfyUI takes Flux's levels for times here.
    """
    first, last = table.levels[-1], table.levels[0]
    ends_in_zero = math.isclose(float(table.level(last)), 0, abs_tol=1e-5)
    times = torch.linspace(first, last, steps + ends_in_zero)
    levels = tuple(table.level(times).tolist())
    return levels if ends_in_zero else (*levels, 0.0)


def sgm_uniform(table: Table, steps: int) -> Levels:
    """Return levels at evenly spread times, the last time left out."""
    first, last = table.levels[-1], table.levels[0]
    times = torch.linspace(first, last, steps + 1)[:-1]
    return (*table.level(times).tolist(), 0.0)


def beta(table: Table, steps: int) -> Levels:
    """Return levels close together at both ends, by the beta distribution (arXiv 2407.12173).

    With many steps several fall on one level of the table; they become one step.
    """
    portions = 1 - torch.arange(steps, dtype=torch.float64) / steps
    places = torch.round(beta_quantiles(portions) * (len(table.levels) - 1)).long()
    return (*table.levels[torch.unique_consecutive(places)].tolist(), 0.0)


SCHEDULERS: Mapping[str, Callable[[Table, int], Levels]] = {
    "simple": simple,
    "sgm_uniform": sgm_uniform,
    "beta": beta,
    "normal": normal,
}


def levels_for(table: Table, scheduler: str, steps: int, denoise: float) -> Levels:
    """Return the levels to walk through; none if there is nothing to do.

    Args:
        table: the model's.
        scheduler: a name of `SCHEDULERS`.
        steps: how many steps.
        denoise: 1 starts at pure noise; less keeps part of the given latent by leaving out the
            first of correspondingly more levels.

    Raises:
        RenderError: ``denoise`` is so small that there would be no end of levels.
    """
    if denoise <= 0.0:
        return ()
    total = steps if denoise > 0.9999 else int(steps / denoise)
    if total > MOST_LEVELS:
        raise RenderError(
            f"{steps} steps with denoise {denoise:g} would take {total} noise levels",
            fix="Raise denoise, or set it to 0 to leave the latent as it is",
        )
    return SCHEDULERS[scheduler](table, total)[-(steps + 1) :]


# --- the beta distribution ---

_SHAPE = 0.6
_TERMS = 60
_HALVINGS = 60


def beta_quantiles(portions: torch.Tensor) -> torch.Tensor:
    """Return where the beta distribution with both parameters 0.6 has these portions to its left.

    It is symmetric, so only the left half is searched, where the series converges fast.

    Args:
        portions: 0 to 1, float64.
    """
    right = portions > 0.5
    wanted = torch.where(right, 1 - portions, portions)
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 0.5)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _portion_left_of(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    found = torch.where(right, 1 - high, high)
    return torch.round(found, decimals=12)  # the middle is 0.5 exactly: half a step decides there


def _portion_left_of(place: torch.Tensor) -> torch.Tensor:
    """Return the regularised incomplete beta function, by its power series (DLMF 8.17.7)."""
    total, factor = torch.zeros_like(place), 1.0
    powers = torch.ones_like(place)
    for term in range(_TERMS):
        total += powers * (factor / (_SHAPE + term))
        factor *= (term + 1 - _SHAPE) / (term + 1)
        powers = powers * place
    whole = math.gamma(_SHAPE) ** 2 / math.gamma(2 * _SHAPE)
    return place**_SHAPE * total / whole
