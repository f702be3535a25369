"""The factor of the loss in float16, after torch's GradScaler; 1 and unchanged in other types.

torch's own is not used because its state must be part of the checkpoint, and must be the same on
all cards of a training.
"""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import nn

from training.checkpoints import Standing

FIRST = 2.0**14
GROWS_AFTER = 1000
"""Updates after which the scale is doubled (GradScaler: 2,000, for longer trainings)."""
_LEAST, _MOST = 1.0, 2.0**24


class LossScale:
    """Keeps ``standing.scale`` as large as float16 bears."""

    def __init__(self, standing: Standing, *, used: bool) -> None:
        self._standing, self._used = standing, used
        if used:
            standing.scale = FIRST

    def unscale(self, values: Sequence[nn.Parameter], clip: float) -> tuple[float, bool]:
        """Divide gradients by the scale and clip them; adapt the scale.

        Returns:
            The gradient's length before clipping, and whether it was finite.
        """
        grads = [one.grad for one in values if one.grad is not None]
        if self._standing.scale != 1:
            torch._foreach_div_(grads, self._standing.scale)
        norm = float(nn.utils.clip_grad_norm_(list(values), clip))
        finite = isfinite(norm)
        if self._used:
            self._adapt(finite)
        return norm, finite

    def _adapt(self, finite: bool) -> None:
        own = self._standing
        own.growth = own.growth + 1 if finite else 0
        if not finite:
            own.scale = max(_LEAST, own.scale / 2)
        elif own.growth >= GROWS_AFTER:
            own.scale, own.growth = min(_MOST, own.scale * 2), 0
