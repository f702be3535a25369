"""Own kernels for tests, each compiled once: compiling is what takes their time."""

from functools import cache

from benchmarks.kernel_identity import TARGETS
from models.tensor_types import TensorType
from quantize import kernel
from quantize.kernels.packer import Packer


@cache
def packer(kind: TensorType, width: int) -> Packer:
    """For vectors of `width` numbers; 0 is the array machine."""
    return Packer(kernel.OWN[kind], TARGETS[width])
