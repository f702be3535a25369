"""Draws the noise levels at which a model is trained, 1 (noise) to 0 (picture).

``sigmoid`` is ai-toolkit's default (a sigmoid of a normal draw: mostly the middle). ``shift`` is
kohya's ``discrete_flow_shift`` of such a draw, and ``flux_shift`` the one that FLUX.1 samples with,
which grows with the picture (diffusers ``calculate_shift``: 0.5 at 256 tokens, 1.15 at 4,096).
"""

from math import exp

import torch

from training.recipe import Timesteps


def draw(
    kind: Timesteps, count: int, tokens: int, shift: float, noise: torch.Generator
) -> torch.Tensor:
    """Return levels, float32, shape (count,).

    Args:
        kind: how they lie.
        count: how many.
        tokens: image tokens of a picture, for ``flux_shift``.
        shift: for ``shift``.
        noise: what they are drawn from.
    """
    if kind is Timesteps.UNIFORM:
        return torch.rand(count, generator=noise)
    if kind is Timesteps.FLUX_SHIFT:
        return shifted(torch.rand(count, generator=noise), exp(flux_mu(tokens)))
    middle = torch.sigmoid(torch.randn(count, generator=noise))
    return shifted(middle, shift) if kind is Timesteps.SHIFT else middle


def shifted(level: torch.Tensor, shift: float) -> torch.Tensor:
    """Return levels that lean towards noise by a factor."""
    return shift * level / (1 + (shift - 1) * level)


def flux_mu(tokens: int) -> float:
    """Return the exponent of FLUX.1's shift for a picture of so many tokens."""
    return 0.5 + (tokens - 256) * (1.15 - 0.5) / (4096 - 256)
