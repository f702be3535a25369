"""Stages: the VAE, on reconstruction with a little of the prior's pull; then its decoder alone."""

from typing import Any

import torch
from torch.nn.functional import l1_loss, mse_loss

from training.micro import pictures
from training.micro.recipe import Recipe
from training.micro.stage import Stage
from training.randomness import generator, stream

PULL = 2e-4
"""Weight of the divergence from the normal distribution, mean per latent value."""

OFF = 0.1
"""Most that the decoder's latents are off, as a share of their deviation."""


def stage(recipe: Recipe, vae: Any) -> Stage:
    """The stage."""

    def loss(step: int) -> torch.Tensor:
        drawn = stream(recipe.seed, "vae", step)
        shown = [pictures.anything(drawn) for _ in range(recipe.vae.batch)]
        noise = generator(recipe.seed, "vae noise", step)
        return reconstruction(vae, pictures.tensor(shown), noise)

    return Stage("vae", recipe.vae, {"vae": vae}, loss)


def decoder(recipe: Recipe, vae: Any) -> Stage:
    """The stage of the decoder alone: the latents stay what they are, so the unet is not touched.

    It sees them a little off, as the unet's are going to be.
    """

    def loss(step: int) -> torch.Tensor:
        drawn = stream(recipe.seed, "decoder", step)
        shown = pictures.tensor([pictures.anything(drawn) for _ in range(recipe.decoder.batch)]).to(
            next(vae.parameters()).device
        )
        noise = generator(recipe.seed, "decoder noise", step)
        with torch.autocast(shown.device.type, torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(shown).latent_dist.mean
            off = torch.randn(latents.shape, generator=noise).to(shown.device)
            spread = OFF * float(drawn.random()) * latents.std()
            back = vae.decode(latents + spread * off).sample.float()
        wrong: torch.Tensor = l1_loss(back, shown) + mse_loss(back, shown)
        return wrong

    return Stage("decoder", recipe.decoder, {"decoder": vae.decoder}, loss)


def reconstruction(vae: Any, shown: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """How far a picture is from what comes back, and the posterior from the prior."""
    shown = shown.to(next(vae.parameters()).device)
    with torch.autocast(shown.device.type, torch.bfloat16):
        posterior = vae.encode(shown).latent_dist
        drawn = torch.randn(posterior.mean.shape, generator=noise).to(shown.device)
        back = vae.decode(posterior.mean + posterior.std * drawn).sample.float()
    mean, spread = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).mean()
    wrong: torch.Tensor = l1_loss(back, shown) + mse_loss(back, shown)
    total: torch.Tensor = wrong + PULL * divergence
    return total
