"""Stage: the VAE, on reconstruction with a little of the prior's pull (a beta-VAE).

Trained on cuttings first, which is cheaper and as good for a network of convolutions, then on whole
pictures, since its middle attention and its norms see all of what they are given.
"""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import l1_loss, mse_loss

from models.micro.picture import SIDE, Pixels
from training.micro import pictures
from training.micro.randomness import generator, stream
from training.micro.recipe import Recipe
from training.micro.stage import Stage

PULL = 2e-4
"""Weight of the divergence from the normal distribution, mean per latent value."""


def cuttings(recipe: Recipe, vae: Any) -> Stage:
    """The stage on cuttings of half the side."""
    return _stage("vae", recipe, vae, SIDE // 2)


def whole(recipe: Recipe, vae: Any) -> Stage:
    """The stage on whole pictures."""
    return _stage("vae_whole", recipe, vae, SIDE)


def _stage(name: str, recipe: Recipe, vae: Any, side: int) -> Stage:
    own = getattr(recipe, name)

    def loss(step: int) -> torch.Tensor:
        shown = batch(recipe.seed, name, step, own.batch, side)
        return reconstruction(vae, shown, generator(recipe.seed, f"{name} noise", step))

    return Stage(name, own, {"vae": vae}, loss)


def batch(seed: int, purpose: str, step: int, count: int, side: int) -> torch.Tensor:
    """Pictures for the VAE, cut to ``side``."""
    drawn = stream(seed, purpose, step)
    cut = [_cut(pictures.anything(drawn), side, drawn) for _ in range(count)]
    return pictures.tensor(cut)


def _cut(picture: Pixels, side: int, drawn: np.random.Generator) -> Pixels:
    top, left = drawn.integers(0, SIDE - side + 1, 2)
    return picture[top : top + side, left : left + side]


def reconstruction(vae: Any, shown: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """How far a picture is from what comes back, and the posterior from the prior."""
    with torch.autocast(shown.device.type, torch.bfloat16):
        posterior = vae.encode(shown).latent_dist
        drawn = torch.randn(posterior.mean.shape, generator=noise).to(shown.device)
        back = vae.decode(posterior.mean + posterior.std * drawn).sample.float()
    mean, spread = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).mean()
    wrong: torch.Tensor = l1_loss(back, shown) + mse_loss(back, shown)
    total: torch.Tensor = wrong + PULL * divergence
    return total
