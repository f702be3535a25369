"""How much a LoRA changes each layer: the Frobenius norm of scale * up @ down.

The product itself (a base-sized matrix) is never formed:
||up @ down||^2 = trace((up^T up) (down down^T)), two rank x rank matrices. In float64, since a
trace of products cancels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.lora import LoraFile, LoraLayer
from quantize import lora_values
from quantize.lora_values import LoraValues, Matrix


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """The size of one layer's change at strength 1.

    Attributes:
        layer: which.
        norm: Frobenius norm, scale included; NaN where a number is not finite.
        bad: names of its matrices that hold NaN or infinity.
    """

    layer: LoraLayer
    norm: float
    bad: tuple[str, ...] = ()


def measure(lora: LoraFile) -> Iterator[LayerNorm]:
    """Measure layer after layer, in the file's order.

    Raises:
        ModelError: the file ended early.
        OSError: it cannot be read.
    """
    with lora_values.opened(lora.path) as values:
        for layer in lora.layers:
            yield _measured(layer, values)


def _measured(layer: LoraLayer, values: LoraValues) -> LayerNorm:
    down, up = values.rows(layer.down), values.rows(layer.up)
    pairs = ((layer.down, down), (layer.up, up))
    bad = tuple(info.name for info, matrix in pairs if not np.isfinite(matrix).all())
    if bad or up.shape[1] != down.shape[0]:
        return LayerNorm(layer, math.nan, bad)
    return LayerNorm(layer, abs(layer.scale) * product_norm(up, down))


def product_norm(up: Matrix, down: Matrix) -> float:
    """The Frobenius norm of up (rows, rank) @ down (rank, in)."""
    wide_up, wide_down = up.astype(np.float64), down.astype(np.float64)
    grams = np.vdot(wide_up.T @ wide_up, wide_down @ wide_down.T)
    return math.sqrt(max(0.0, float(grams)))
