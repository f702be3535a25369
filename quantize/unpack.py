"""From packed blocks back to float32: what a loader will see of them.

ggml's own C code does it, which had no part in packing; where it is not to be had, the gguf
package, some thirty times as slow.
"""

import logging
from functools import cache
from typing import TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType
from quantize import decode, ggml_reference
from quantize.errors import QuantizeError
from quantize.overrides import is_plain

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

log = logging.getLogger(__name__)


def unpacked(tensor_type: TensorType, packed: Bytes, count: int) -> Floats:
    """The `count` weights of whole blocks."""
    out = np.empty(count, np.float32)
    if is_plain(tensor_type):
        decode.decode(packed, tensor_type.name, out)
    elif _has_ggml():
        ggml_reference.unpack(tensor_type, packed, out)
    else:
        kind = gguf.GGMLQuantizationType(int(tensor_type))
        out[:] = gguf.quants.dequantize(packed, kind)
    return out


@cache
def function(tensor_type: TensorType) -> int | None:
    """Address of C's void unpack(const void *blocks, float *weights, int64_t count), if there is.

    It may be called from any thread.
    """
    if is_plain(tensor_type) or not _has_ggml():
        return None
    return ggml_reference.unpacker_address(tensor_type)


@cache
def _has_ggml() -> bool:
    try:
        ggml_reference.library_path()
    except QuantizeError as error:
        log.warning("packed weights are read back slowly: %s", error)
        return False
    return True
