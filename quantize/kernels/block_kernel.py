"""A block type as the machines need it: how it is called, how it lies, how it is packed."""

from collections.abc import Callable
from dataclasses import dataclass

from quantize.kernels.lanes import Layout, Machine


@dataclass(frozen=True, slots=True)
class BlockKernel:
    """A type's layout and kernel.

    `in_flight` is how many vectors are computed side by side, so that one has work while another
    waits for its sum.
    """

    name: str
    layout: Layout
    kernel: Callable[[Machine], None]
    in_flight: int = 2
