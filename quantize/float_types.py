"""Packing into the types that are floats: F32, F16, BF16. ggml's bits, by numpy."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType


class FloatType:
    """Packs rows into one of TYPES (a quantize.widening.Engine)."""

    TYPES: ClassVar = (TensorType.F32, TensorType.F16, TensorType.BF16)

    def __init__(self, tensor_type: TensorType) -> None:
        self._type = tensor_type

    def quantise(self, rows: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Round finite `rows` to nearest, ties to even, into `out`.

        Raises:
            OverflowError: a weight becomes infinite.
        """
        flat = rows.reshape(-1)
        match self._type:
            case TensorType.F32:
                out.view("<f4")[:] = flat
            case TensorType.F16:
                _to_f16(flat, out.view("<f2"))
            case _:
                _to_bf16(flat, out.view("<u2"))


def _to_f16(weights: NDArray[np.float32], out: NDArray[np.float16]) -> None:
    with np.errstate(over="ignore"):
        out[:] = weights
    if not np.isfinite(out).all():
        raise OverflowError("a weight is beyond F16's range")


def _to_bf16(weights: NDArray[np.float32], out: NDArray[np.uint16]) -> None:
    bits = weights.view(np.uint32)
    # To the even one of two upper halves, if the lower half is just between them.
    out[:] = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    if ((out & 0x7F80) == 0x7F80).any():
        raise OverflowError("a weight is beyond BF16's range")
