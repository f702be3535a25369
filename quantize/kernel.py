"""What packs rows of weights into blocks: the interface, and which implementation a type has.

The converter knows nothing but this.

    Q2_K Q3_K Q4_K Q5_K Q6_K Q8_0   own kernels (kernels/)
    F32 F16 BF16                    numpy (float_types.py)
    Q4_0 Q4_1 Q5_0 Q5_1             ggml (ggml_reference.py)
"""

import logging
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType
from quantize import ggml_reference
from quantize.float_types import FloatType
from quantize.kernels import q2_k, q3_k, q4_k, q5_k, q6_k, q8_0
from quantize.kernels.block_kernel import BlockKernel
from quantize.kernels.packer import Packer
from quantize.widening import WideningKernel

if TYPE_CHECKING:
    from quantize.kernels.jit import Target

Rows: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]

OWN: Mapping[TensorType, BlockKernel] = MappingProxyType(
    {
        TensorType.Q2_K: BlockKernel("Q2_K", q2_k.LAYOUT, q2_k.kernel),
        TensorType.Q3_K: BlockKernel("Q3_K", q3_k.LAYOUT, q3_k.kernel, q3_k.IN_FLIGHT),
        TensorType.Q4_K: BlockKernel("Q4_K", q4_k.LAYOUT, q4_k.kernel),
        TensorType.Q5_K: BlockKernel("Q5_K", q5_k.LAYOUT, q5_k.kernel),
        TensorType.Q6_K: BlockKernel("Q6_K", q6_k.LAYOUT, q6_k.kernel),
        TensorType.Q8_0: BlockKernel("Q8_0", q8_0.LAYOUT, q8_0.kernel),
    }
)

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """Packs rows for one tensor type. Called from several threads at once."""

    def pack(self, raw: Bytes, source: str, rows: int, width: int, out: Bytes) -> None:
        """Pack `rows` of `width` weights, as they lie in a source file, into exactly `out`.

        Args:
            raw: the weights' bytes, contiguous, little endian.
            source: their format, a name of kernels.halves.SOURCES: F32, F16, BF16, F8_E4M3,
                F8_E5M2, or "F32 as F16" for float32 that is rounded to F16 first.
            rows: how many rows there are.
            width: their weights, whole blocks of the type.
            out: contiguous bytes for the blocks.

        Raises:
            BadWeightError: a weight is not finite; with its index.
            TooLargeError: it would make a block's F16 scale infinite (an OverflowError, too).
        """


def find(tensor_type: TensorType) -> Kernel:
    """The kernel for a type.

    Raises:
        QuantizeError: the library behind it is not installed.
    """
    if tensor_type in OWN:
        return _own(tensor_type)
    if tensor_type in FloatType.TYPES:
        return WideningKernel(tensor_type, FloatType(tensor_type))
    return by_ggml(tensor_type)


def by_ggml(tensor_type: TensorType) -> Kernel:
    """The kernel of ggml for a type, to be compared with.

    Raises:
        QuantizeError: ggml is not installed.
    """
    return WideningKernel(tensor_type, ggml_reference.GgmlKernel(tensor_type))


@cache  # a kernel is compiled once in a process
def _own(tensor_type: TensorType) -> Packer:
    return Packer(OWN[tensor_type], target())


@cache
def target() -> "Target | None":
    """The processor to compile for, if there is a compiler and it has vectors."""
    try:
        # Without llvmlite, or where its library does not load, numpy does it.
        from quantize.kernels import jit
    except (ImportError, OSError) as error:
        log.warning("kernels run without vectors, slowly: llvmlite does not load: %s", error)
        return None
    target = jit.host()
    if not target.width:
        log.warning("kernels run without vectors, slowly: %s has none we know", target.cpu)
        return None
    log.info("kernels use vectors of %d numbers on %s", target.width, target.cpu)
    return target
