"""Which tensor type each tensor of a T5 encoder gets, for each file type.

llama.cpp's rules, as they come out for this architecture. Some layers are worth more bits: the
value and the down projection of the first, the last and every third block. The token embedding,
which serves as output too in models that have one, gets Q6_K. Norms and the table of relative
positions stay as they are.

Where llama.cpp counts tensors in the order in which they come, blocks are counted here by their
number, so the order of a file changes nothing. (Files sorted by name come out differently there,
as `enc.blk.10` stands before `enc.blk.2`.)

Names, shapes and types only; no weight is seen here.
Source: llama.cpp, src/llama-quant.cpp, for `t5encoder`; checked against libllama itself.
"""

import re
from collections.abc import Sequence

from models.tensor_types import FileType, TensorType, fits

_BLOCK = re.compile(r"enc\.blk\.([0-9]+)\.")
_POSITIONS = "attn_rel_b.weight"
_BASE = {
    FileType.Q3_K_S: TensorType.Q3_K,
    FileType.Q3_K_M: TensorType.Q3_K,
    FileType.Q3_K_L: TensorType.Q3_K,
    FileType.Q4_K_S: TensorType.Q4_K,
    FileType.Q4_K_M: TensorType.Q4_K,
    FileType.Q5_K_S: TensorType.Q5_K,
    FileType.Q5_K_M: TensorType.Q5_K,
}  # every other file type has the name of its tensor type


def stored_type(dtype: str, shape: Sequence[int]) -> TensorType:
    """What an unquantised GGUF would store (convert_hf_to_gguf.py's step): norms in F32."""
    if len(shape) == 1:
        return TensorType.F32
    return TensorType.BF16 if dtype == "BF16" else TensorType.F16


def is_quantised(name: str, shape: Sequence[int]) -> bool:
    """Whether the file type has a say in this tensor."""
    return len(shape) == 2 and shape[0] > 1 and not name.endswith(_POSITIONS)


def tensor_type(
    name: str, shape: Sequence[int], stored: TensorType, file_type: FileType, layers: int
) -> TensorType:
    """The type of one tensor in the finished file (llama-quantize's step).

    Args:
        name: llama.cpp's.
        shape: row-major.
        stored: see stored_type().
        file_type: the recipe.
        layers: how many blocks the encoder has.
    """
    if not is_quantised(name, shape):
        return stored
    wanted = _wanted(name, file_type, layers)
    return wanted if fits(shape, wanted) else TensorType.F16


def _wanted(name: str, file_type: FileType, layers: int) -> TensorType:
    base = _BASE.get(file_type) or TensorType[file_type.name]
    found = _BLOCK.match(name)
    block = int(found[1]) if found else 0
    if base in (TensorType.F16, TensorType.BF16):
        return base
    if name == "token_embd.weight":
        return base if base is TensorType.Q8_0 else TensorType.Q6_K
    if name.endswith("attn_v.weight"):
        return _value(base, file_type, block, layers)
    if name.endswith("ffn_down.weight"):
        return _down(base, file_type, block, layers)
    return base


def _value(base: TensorType, file_type: FileType, block: int, layers: int) -> TensorType:
    match file_type:
        case FileType.Q2_K:
            return TensorType.Q3_K
        case FileType.Q3_K_M:
            return TensorType.Q5_K if block < 2 else TensorType.Q4_K
        case FileType.Q3_K_L:
            return TensorType.Q5_K
        case FileType.Q4_K_S if block < 4:
            return TensorType.Q5_K
        case FileType.Q4_K_M | FileType.Q5_K_M if _matters(block, layers):
            return TensorType.Q6_K
    return base


def _down(base: TensorType, file_type: FileType, block: int, layers: int) -> TensorType:
    match file_type:
        case FileType.Q2_K:
            return TensorType.Q3_K
        case FileType.Q3_K_M:
            return TensorType.Q5_K if block < layers // 16 else TensorType.Q4_K
        case FileType.Q3_K_L:
            return TensorType.Q5_K
        case FileType.Q4_K_S if block < layers // 8:
            return TensorType.Q5_K
        case FileType.Q4_K_M | FileType.Q5_K_M if _matters(block, layers):
            return TensorType.Q6_K
    return base


def _matters(block: int, layers: int) -> bool:
    """Whether llama.cpp gives a block more bits: the first and last eighth, and every third."""
    eighth = layers // 8
    return block < eighth or block >= 7 * layers // 8 or (block - eighth) % 3 == 2
