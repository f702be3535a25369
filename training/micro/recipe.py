"""Every number of the micro Flux's training; docs/micro-flux.md has what they gave."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """One stage.

    Attributes:
        steps: optimiser steps.
        batch: examples per step.
        rate: learning rate of AdamW.
        matrix_rate: learning rate of Muon, for the matrices inside blocks; 0 = AdamW for all.
        flat: share of the steps before the rate falls, in a straight line, to 0.
    """

    steps: int
    batch: int
    rate: float
    matrix_rate: float = 0.0
    flat: float = 0.3


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole training, in the order of its stages.

    Attributes:
        seed: of everything that is drawn at random.
        text: both text encoders.
        vae: the VAE.
        decoder: its decoder alone, on latents that are a little off.
        examples: pictures with captions that the unet is trained on.
        unet: the unet on those.
        guidance: the unet again, on what classifier-free guidance makes of it.
    """

    seed: int = 0
    text: StageRecipe = field(default_factory=lambda: StageRecipe(600, 128, 1e-3))
    vae: StageRecipe = field(default_factory=lambda: StageRecipe(6000, 8, 2e-3, flat=0.35))
    decoder: StageRecipe = field(default_factory=lambda: StageRecipe(1500, 16, 1e-3, flat=0.1))
    examples: int = 32_768
    unet: StageRecipe = field(default_factory=lambda: StageRecipe(4500, 64, 1e-3, 3e-3))
    guidance: StageRecipe = field(default_factory=lambda: StageRecipe(400, 64, 3e-4, 1e-3, 0.0))

    def shortened(self, factor: float) -> "Recipe":
        """Return the same with fewer steps and examples: to see that it runs."""
        stages = ("text", "vae", "decoder", "unet", "guidance")
        fewer = {
            name: replace(one, steps=max(2, round(one.steps * factor)))
            for name in stages
            for one in [getattr(self, name)]
        }
        return replace(self, examples=max(64, round(self.examples * factor)), **fewer)
