"""One denoising: noise is mixed into a latent, a sampler walks it down, a mask keeps what is kept.

Rectified flow: at level s a latent is ``s * noise + (1 - s) * picture``. Noise, masks and mixing
are ComfyUI's, so a seed gives the same picture there (ComfyUI: prepare_noise, reshape_mask,
KSamplerX0Inpaint, CONST).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from host.samplers import WALKS, Guess, Report
from host.vae import to_model_space
from host.values import Latent, Noise, Sampler, Sigmas


@dataclass(frozen=True, slots=True)
class Start:
    """What a denoising begins with, in the model's space.

    Attributes:
        given: the latent to start from, (batch, channels, h, w).
        noise: of the same shape.
        mask: of the same shape, 1 where it is to become new, 0 where it stays; None: all new.
    """

    given: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor | None = None

    def at(self, level: torch.Tensor) -> torch.Tensor:
        """Return the given latent with the noise of a level."""
        return level * self.noise + (1.0 - level) * self.given

    def keeping(self, guess: Guess) -> Guess:
        """Return a guess that leaves alone what the mask keeps."""
        if self.mask is None:
            return guess
        new, old = self.mask, 1.0 - self.mask

        def masked(latent: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
            picture = guess(latent * new + self.at(level) * old, level)
            return picture * new + self.given * old

        return masked


def start(latent: Latent, noise: Noise, device: torch.device) -> Start:
    """Return what to begin with, on the device."""
    given = latent.samples
    if torch.count_nonzero(given):  # ComfyUI leaves an empty latent at zero
        given = to_model_space(given)
    mask = latent.noise_mask
    return Start(
        given.to(device),
        noise_like(given, noise, latent.batch_index).to(device),
        None if mask is None else mask_like(given, mask).to(device),
    )


def denoise(
    guess: Guess, begin: Start, sigmas: Sigmas, sampler: Sampler, report: Report
) -> tuple[torch.Tensor, torch.Tensor]:
    """Walk down the levels.

    Args:
        guess: the model with its prompts.
        begin: where from.
        sigmas: the levels, at least one; if the last is not 0, noise is left over.
        sampler: how to walk.
        report: is told of each step; what it raises ends the walk.

    Returns:
        Where it ends, and the last guess; the end twice if there was none.
    """
    levels = torch.tensor(sigmas.levels)
    guesses: list[torch.Tensor] = []

    def step(number: int, picture: torch.Tensor) -> None:
        guesses[:] = [picture]
        report(number, picture)

    walk = WALKS[sampler.name]
    end = walk(begin.keeping(guess), begin.at(levels[0]), levels, step) / (1.0 - levels[-1])
    return end, guesses[0] if guesses else end


def noise_like(
    latent: torch.Tensor, noise: Noise, batch_index: Sequence[int] | None = None
) -> torch.Tensor:
    """Return noise for a latent, from the CPU's generator, so that it is the same everywhere.

    Args:
        latent: (batch, channels, h, w).
        noise: its seed.
        batch_index: the place of each latent in the batch that it was cut from; it then gets the
            noise it would have had there.
    """
    if noise.seed is None:
        return torch.zeros(latent.shape)
    generator = torch.Generator("cpu").manual_seed(noise.seed)
    if batch_index is None:
        return torch.randn(latent.shape, generator=generator, dtype=torch.float32)
    one = (1, *latent.shape[1:])
    drawn = [torch.randn(one, generator=generator) for _ in range(max(batch_index) + 1)]
    return torch.cat([drawn[index] for index in batch_index])


def mask_like(latent: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return a mask of any size as large as a latent: (batch, channels, h, w).

    Too few masks are repeated, too many are left out.
    """
    flat = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    scaled = torch.nn.functional.interpolate(flat, latent.shape[2:], mode="bilinear")
    batch, channels = latent.shape[:2]
    return scaled.repeat(math.ceil(batch / len(scaled)), channels, 1, 1)[:batch]
