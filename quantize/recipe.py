"""Which tensor type each tensor of a FLUX.1 gets, for each file type.

The same as today's route, ComfyUI-GGUF's convert.py followed by a patched llama-quantize, so that
our files are like those on the net, tensor by tensor. That route has two steps, and the first one
shows in the result: an F32 source goes through F16 before it is quantised.

    source --stored_type()--> F32 / F16 / BF16 --tensor_type()--> e.g. Q4_K, or as it is

Names, shapes and types only; no weight is seen here.
Sources: city96/ComfyUI-GGUF, tools/convert.py and tools/lcpp.patch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from models.tensor_types import FileType, TensorType, fits

SMALL = 1024  # a tensor of so few weights is not worth a loss

# The way in and out of the network, 0.5 % of its weights: an error here is in every pixel.
KEEP = ("txt_in.", "img_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.")

_FUSED_QKV = "attn.qkv.weight"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A file type's tensor types: of the blocks' weights, and of the double blocks' fused qkv."""

    blocks: TensorType
    qkv: TensorType


# llama.cpp's other exceptions (attn_v, ffn_down) match no FLUX.1 name.
RECIPES: Mapping[FileType, Recipe] = {
    FileType.F16: Recipe(TensorType.F16, TensorType.F16),
    FileType.BF16: Recipe(TensorType.BF16, TensorType.BF16),
    FileType.Q4_0: Recipe(TensorType.Q4_0, TensorType.Q4_0),
    FileType.Q4_1: Recipe(TensorType.Q4_1, TensorType.Q4_1),
    FileType.Q5_0: Recipe(TensorType.Q5_0, TensorType.Q5_0),
    FileType.Q5_1: Recipe(TensorType.Q5_1, TensorType.Q5_1),
    FileType.Q8_0: Recipe(TensorType.Q8_0, TensorType.Q8_0),
    FileType.Q2_K: Recipe(TensorType.Q2_K, TensorType.Q2_K),
    FileType.Q3_K_S: Recipe(TensorType.Q3_K, TensorType.Q3_K),
    FileType.Q3_K_M: Recipe(TensorType.Q3_K, TensorType.Q4_K),
    FileType.Q3_K_L: Recipe(TensorType.Q3_K, TensorType.Q4_K),
    FileType.Q4_K_S: Recipe(TensorType.Q4_K, TensorType.Q4_K),
    FileType.Q4_K_M: Recipe(TensorType.Q4_K, TensorType.Q5_K),
    FileType.Q5_K_S: Recipe(TensorType.Q5_K, TensorType.Q5_K),
    FileType.Q5_K_M: Recipe(TensorType.Q5_K, TensorType.Q6_K),
    FileType.Q6_K: Recipe(TensorType.Q6_K, TensorType.Q6_K),
}


def stored_type(dtype: str, shape: Sequence[int]) -> TensorType:
    """What an unquantised GGUF would store (convert.py's step); `dtype` is one of decode.DTYPES.

    Norm scales and biases stay exact in F32, except from an F16 or FP8 source, where F16 already
    is (or where what was scaled FP8 is closer to F16 than it ever was to the truth).
    """
    if dtype in ("F16", "F8_E4M3", "F8_E5M2"):
        return TensorType.F16
    if len(shape) == 1 or prod(shape) <= SMALL:
        return TensorType.F32
    return TensorType.BF16 if dtype == "BF16" else TensorType.F16


def is_quantised(name: str, shape: Sequence[int]) -> bool:
    """Whether the file type has a say in this tensor: a matrix of weights inside the blocks."""
    matrix = len(shape) == 2 and shape[0] > 1  # to ggml, one row is one dimension
    return name.endswith("weight") and matrix and not any(part in name for part in KEEP)


def tensor_type(
    name: str, shape: Sequence[int], stored: TensorType, file_type: FileType
) -> TensorType:
    """The type of one tensor in the finished file (llama-quantize's step)."""
    if not is_quantised(name, shape):
        return stored
    recipe = RECIPES[file_type]
    wanted = recipe.qkv if name.endswith(_FUSED_QKV) else recipe.blocks
    # Rows that are no whole blocks: never in FLUX.1, whose widths are multiples of 256.
    return wanted if fits(shape, wanted) else TensorType.F16
