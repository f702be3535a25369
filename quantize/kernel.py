"""What packs rows of floats into blocks: the interface, and which implementation a type has.

The converter knows nothing but this. Today every type is packed by ggml; an own kernel takes over
a type by its line in find().
"""

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType
from quantize import ggml_reference

Rows: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]


class Kernel(Protocol):
    """Packs rows for one tensor type. Called from several threads at once."""

    def quantise(self, rows: Rows, out: Bytes) -> None:
        """Pack `rows` (n, width), finite and C-contiguous, into exactly `out`.

        Raises:
            OverflowError: weights so large that a block's F16 scale would become infinite.
        """


def find(tensor_type: TensorType) -> Kernel:
    """The kernel for a type.

    Raises:
        QuantizeError: the library behind it is not installed.
    """
    return ggml_reference.GgmlKernel(tensor_type)
