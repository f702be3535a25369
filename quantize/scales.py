"""Scaled FP8: weights that were divided by a number which the file keeps beside them.

FP8 alone is too coarse for small weights, so such files store `weight / scale` and a
`scale_weight` for each layer. A converter that overlooks it gets weights wrong by that factor. Two
spellings are in use, both ComfyUI's:

    layer.weight F8 | layer.scale_weight | layer.scale_input | scaled_fp8 (marks the file)
    layer.weight F8 | layer.weight_scale | layer.input_scale | layer.comfy_quant (JSON)

The weight's scale is applied. That of the input is for multiplying in FP8 and left out, as are the
marks. Only companions of an FP8 tensor are taken for these; anything else of such a name is left
among the tensors, where it will be refused.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import safetensors_file
from models.safetensors_file import TensorInfo
from quantize import decode
from quantize.errors import Problem, QuantizeError

FP8 = ("F8_E4M3", "F8_E5M2")
_WEIGHT_SCALES = ("scale_weight", "weight_scale")
_UNUSED = ("scale_input", "input_scale", "comfy_quant")
_MARK = "scaled_fp8"


@dataclass(frozen=True, slots=True)
class Companions:
    """Names of tensors that are not weights.

    Attributes:
        scales: weight's name to its scale's name.
        left_out: what is not needed.
    """

    scales: Mapping[str, str]
    left_out: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.scales.values() or name in self.left_out


def companions(dtypes: Mapping[str, str]) -> Companions:
    """Find the companions of FP8 weights.

    Args:
        dtypes: each tensor's, by name.
    """
    scales: dict[str, str] = {}
    left_out: list[str] = []
    any_fp8 = any(dtype in FP8 for name, dtype in dtypes.items() if name != _MARK)
    for name in dtypes:
        layer, _, kind = name.rpartition(".")
        scaled = dtypes.get(f"{layer}.weight") in FP8
        if scaled and kind in _WEIGHT_SCALES:
            scales[f"{layer}.weight"] = name
        elif (scaled and kind in _UNUSED) or (name == _MARK and any_fp8):
            left_out.append(name)
    return Companions(scales, tuple(left_out))


def read_scale(path: Path, info: TensorInfo) -> float:
    """Read one scale from its file.

    Raises:
        QuantizeError: it is no single positive number.
        ModelError: the file ended early.
    """
    if math.prod(info.shape) != 1 or info.dtype not in ("F32", "F16", "BF16"):
        raise _unusable(path, f"{info.name} is {info.dtype} {list(info.shape)}, not one number")
    raw = np.empty(info.nbytes, np.uint8)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        safetensors_file.read_into(fd, info.offset, raw.data)
    finally:
        os.close(fd)
    value = np.empty(1, np.float32)
    decode.decode(raw, info.dtype, value)
    scale = float(value[0])
    if not (math.isfinite(scale) and scale > 0):
        raise _unusable(path, f"{info.name} is {scale:g}")
    return scale


def _unusable(path: Path, why: str) -> QuantizeError:
    return QuantizeError(
        Problem.BAD_SOURCE,
        "a scale of the FP8 weights is not usable",
        path=path,
        why=why,
        fix="Use a model in F16 or BF16, or FP8 with one scale for each layer",
    )
