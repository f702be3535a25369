"""ggml's tensor types and llama.cpp's file types, with the bytes that they take.

A tensor type (Q4_K) says how one tensor's weights are packed. A file type (Q4_K_S) is a recipe:
which tensor gets which tensor type. This file knows sizes only; how to pack is quantize/'s part,
which tensor gets which type is quantize/recipe.py's.

Numbers: ggml.h `enum ggml_type` and llama.h `enum llama_ftype`, the values stored in GGUF files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from types import MappingProxyType

from models.errors import ModelError


class TensorType(IntEnum):
    """How the weights of one tensor are stored; the value is ggml's id."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    BF16 = 30


class FileType(IntEnum):
    """Which recipe made a file; the value is llama.cpp's id (`general.file_type`)."""

    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q8_0 = 7
    Q5_0 = 8
    Q5_1 = 9
    Q2_K = 10
    Q3_K_S = 11
    Q3_K_M = 12
    Q3_K_L = 13
    Q4_K_S = 14
    Q4_K_M = 15
    Q5_K_S = 16
    Q5_K_M = 17
    Q6_K = 18
    BF16 = 32


@dataclass(frozen=True, slots=True)
class Block:
    """The smallest packed unit: `size` neighbouring weights of one row in `nbytes` bytes."""

    size: int
    nbytes: int


BLOCKS: Mapping[TensorType, Block] = MappingProxyType(
    {
        TensorType.F32: Block(1, 4),
        TensorType.F16: Block(1, 2),
        TensorType.BF16: Block(1, 2),
        # Blocks of 32: one scale (and one min for *_1), then the packed weights.
        TensorType.Q4_0: Block(32, 2 + 16),
        TensorType.Q4_1: Block(32, 2 + 2 + 16),
        TensorType.Q5_0: Block(32, 2 + 4 + 16),
        TensorType.Q5_1: Block(32, 2 + 2 + 4 + 16),
        TensorType.Q8_0: Block(32, 2 + 32),
        # Super-blocks of 256: scales of the sub-blocks, the packed weights, one or two F16 scales.
        TensorType.Q2_K: Block(256, 16 + 64 + 2 + 2),
        TensorType.Q3_K: Block(256, 32 + 64 + 12 + 2),
        TensorType.Q4_K: Block(256, 2 + 2 + 12 + 128),
        TensorType.Q5_K: Block(256, 2 + 2 + 12 + 32 + 128),
        TensorType.Q6_K: Block(256, 128 + 64 + 16 + 2),
    }
)


def fits(shape: Sequence[int], tensor_type: TensorType) -> bool:
    """Whether every row of `shape` (out, in) is a whole number of blocks."""
    return shape[-1] % BLOCKS[tensor_type].size == 0 if shape else BLOCKS[tensor_type].size == 1


def byte_size(shape: Sequence[int], tensor_type: TensorType) -> int:
    """Bytes of a tensor of row-major `shape`, without padding.

    Raises:
        ModelError: a row is no multiple of the block, so the type cannot hold it.
    """
    block = BLOCKS[tensor_type]
    if not fits(shape, tensor_type):
        raise ModelError(
            f"{tensor_type.name} cannot hold a tensor of shape {tuple(shape)}",
            why=f"its rows are no multiple of {block.size} weights",
        )
    return prod(shape) // block.size * block.nbytes
