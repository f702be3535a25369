"""What steers a denoising: the unet with its prompts, as one function that guesses the picture."""

import math
from dataclasses import dataclass

import torch

from host import flux
from host.errors import RenderError
from host.flux import Prompts, Unet
from host.values import Conditioning, Guider


@dataclass(frozen=True, slots=True)
class Guide:
    """A unet with the prompts of a batch.

    Attributes:
        unet: the model, its LoRAs switched on.
        wanted: the positive prompt.
        unwanted: the negative one; None if it does not count.
        cfg: how far to go from the negative prompt's guess towards, and past, the positive one's.
    """

    unet: Unet
    wanted: Prompts
    unwanted: Prompts | None
    cfg: float

    def __call__(self, latent: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Return the picture that the model sees in a latent at a level."""
        towards = self._picture(latent, level, self.wanted)
        if self.unwanted is None:
            return towards
        away = self._picture(latent, level, self.unwanted)
        return away + (towards - away) * self.cfg

    def _picture(self, latent: torch.Tensor, level: torch.Tensor, prompts: Prompts) -> torch.Tensor:
        levels = torch.full((len(latent),), float(level), device=latent.device)
        return latent - flux.velocity(self.unet, latent, levels, prompts) * level


def guide(
    unet: Unet, guider: Guider, batch: int, *, device: torch.device, dtype: torch.dtype
) -> Guide:
    """Put the prompts where the unet computes.

    Args:
        unet: the model.
        guider: its prompts; the negative one is left out at a cfg of 1, where it has no say.
        batch: how many pictures.
        device: where the unet is.
        dtype: in what type it computes.

    Raises:
        RenderError: the prompts come from text encoders of another model.
    """

    def placed(prompt: Conditioning) -> Prompts:
        return _placed(prompt, unet, batch, device, dtype)

    unwanted = None if math.isclose(guider.cfg, 1.0) else guider.negative
    return Guide(
        unet,
        placed(guider.positive),
        None if unwanted is None else placed(unwanted),
        guider.cfg,
    )


def _placed(
    prompt: Conditioning, unet: Unet, batch: int, device: torch.device, dtype: torch.dtype
) -> Prompts:
    shape = unet.shape
    if prompt.context.shape[-1] != shape.context or prompt.pooled.shape[-1] != shape.pooled:
        raise RenderError(
            f"the text encoders do not fit {unet.path.name}",
            why=f"it wants {shape.context} and {shape.pooled} channels, they give "
            f"{prompt.context.shape[-1]} and {prompt.pooled.shape[-1]}",
            fix="Choose the text encoders that belong to this unet",
        )
    strength = flux.DEFAULT_GUIDANCE if prompt.guidance is None else prompt.guidance
    return Prompts(
        prompt.context.to(device, dtype).expand(batch, -1, -1),
        prompt.pooled.to(device, dtype).expand(batch, -1),
        torch.full((batch,), strength, device=device),
    )
