"""Kernels for types that are packed from float32: the source is widened and looked at first."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType
from quantize import decode
from quantize.kernels.bad_weight import BadWeightError, TooLargeError
from quantize.kernels.halves import SOURCES

_THROUGH_F16 = "F32 as F16"


class Engine(Protocol):
    """Packs float32."""

    def quantise(self, rows: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Pack `rows` (n, width), finite and C-contiguous, into exactly `out`.

        Raises:
            OverflowError: a weight or a block's scale would become infinite.
        """


class WideningKernel:
    """Packs by an engine (a quantize.kernel.Kernel)."""

    def __init__(self, tensor_type: TensorType, engine: Engine) -> None:
        self._type = tensor_type
        self._engine = engine

    def pack(
        self, raw: NDArray[np.uint8], source: str, rows: int, width: int, out: NDArray[np.uint8]
    ) -> None:
        """See quantize.kernel.Kernel."""
        if raw.nbytes != rows * width * SOURCES[source].nbytes or not raw.flags.c_contiguous:
            raise ValueError(f"{rows} rows of {width} weights are not {raw.nbytes} bytes")
        weights = _widened(raw, source)
        try:
            self._engine.quantise(weights.reshape(rows, width), out)
        except OverflowError as error:
            largest = int(np.abs(weights).argmax())
            what = f"{weights[largest]:g}, too large for {self._type.name},"
            raise TooLargeError(largest, what) from error


def _widened(raw: NDArray[np.uint8], source: str) -> NDArray[np.float32]:
    through_f16 = source == _THROUGH_F16
    count = len(raw) // SOURCES[source].nbytes
    weights, flags = np.empty(count, np.float32), np.empty(count, np.bool_)
    decode.decode(raw, "F32" if through_f16 else source, weights)
    _check(weights, flags, "infinity")
    if through_f16:
        decode.round_to_half(weights, np.empty(count, np.float16))
        _check(weights, flags, "a weight beyond F16's range")
    return weights


def _check(weights: decode.Floats, flags: decode.Flags, infinite: str) -> None:
    index = decode.first_bad(weights, flags)
    if index is not None:
        raise BadWeightError(index, "NaN" if np.isnan(weights[index]) else infinite)
