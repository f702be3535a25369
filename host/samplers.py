"""The walks from noise to a picture: ComfyUI's samplers (k_diffusion/sampling.py).

At each level the model guesses the end, the *picture*; how far to go towards it, and with which of
the guesses so far, is what samplers differ in. None of those here adds noise on the way.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

Guess = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Guesses the picture, from a latent (batch, channels, h, w) and its level (one number)."""

Report = Callable[[int, torch.Tensor], None]
"""Is told the number of a step, from 0, and its guess, before the step is done."""

Walk = Callable[[Guess, torch.Tensor, torch.Tensor, Report], torch.Tensor]
"""Goes from a latent down the levels (1-D, float32, on the CPU); returns where it ends."""


def euler(guess: Guess, latent: torch.Tensor, levels: torch.Tensor, report: Report) -> torch.Tensor:
    """Go straight towards each guess."""
    for number, (here, there) in enumerate(pairwise(levels)):
        picture = guess(latent, here)
        report(number, picture)
        latent = latent + _slope(latent, picture, here) * (there - here)
    return latent


def heun(guess: Guess, latent: torch.Tensor, levels: torch.Tensor, report: Report) -> torch.Tensor:
    """Look where Euler's step would lead, and go the mean of both ways: two guesses a step."""
    for number, (here, there) in enumerate(pairwise(levels)):
        picture = guess(latent, here)
        report(number, picture)
        slope = _slope(latent, picture, here)
        if there != 0:
            ahead = latent + slope * (there - here)
            slope = (slope + _slope(ahead, guess(ahead, there), there)) / 2
        latent = latent + slope * (there - here)
    return latent


def dpmpp_2m(
    guess: Guess, latent: torch.Tensor, levels: torch.Tensor, report: Report
) -> torch.Tensor:
    """Go towards where this guess and the one before it lead: DPM-Solver++(2M)."""
    before: tuple[torch.Tensor, torch.Tensor] | None = None
    for number, (here, there) in enumerate(pairwise(levels)):
        picture = guess(latent, here)
        report(number, picture)
        time, next_time = here.log().neg(), there.log().neg()
        width = next_time - time
        towards = picture
        if before is not None and there != 0:
            old_time, old_picture = before
            ratio = (time - old_time) / width
            towards = (1 + 1 / (2 * ratio)) * picture - (1 / (2 * ratio)) * old_picture
        kept = next_time.neg().exp() / time.neg().exp()
        latent = kept * latent - (-width).expm1() * towards
        before = time, picture
    return latent


def _slope(latent: torch.Tensor, picture: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    return (latent - picture) / level


WALKS: Mapping[str, Walk] = {"euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m}
