"""Loads the base of a training behind one interface, however its weights lie in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from host import flux
from host.flux import Unet
from host.packed import PackedLinear
from models.flux import tensor_shapes
from models.tensor_types import TensorType
from training.bases import frozen, nf4
from training.errors import TrainingError
from training.recipe import Precision
from training.run_plan import Backend

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)

SMALL = 100_000_000
"""Weights up to which all activations are kept: it is a third quicker, and takes no gigabyte."""


@dataclass(frozen=True, slots=True)
class Base:
    """A frozen unet to train on.

    Attributes:
        unet: the blocks of a large one recompute their activations when gradients come.
        dtype: in what it computes.
        device: where.
    """

    unet: Unet
    dtype: torch.dtype
    device: torch.device

    def autocast(self) -> torch.autocast:
        """Return the context in which the base and a float32 LoRA on it compute together."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def load(path: Path, backend: Backend, precision: Precision, device: torch.device) -> Base:
    """Load a base; its file is mapped, read, and never written.

    Raises:
        ModelError, RenderError: the file is damaged, or no FLUX.1.
        TrainingError: the file's types are not the backend's, or bitsandbytes is not there.
    """
    dtype = compute_type(precision, device)
    unet = flux.load(path, dtype=dtype, device=torch.device("cpu"))
    _check_types(unet, backend)
    _PLACED[backend](unet, device)
    frozen.freeze(unet.transformer)
    if weights(unet) > SMALL:
        unet.transformer.enable_gradient_checkpointing()
    return Base(unet, dtype, device)


def weights(unet: Unet) -> int:
    """Return how many weights a unet has."""
    return sum(prod(size) for size in tensor_shapes(unet.shape).values())


def compute_type(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type in which a base computes on a device.

    A T4 (compute capability 7.5) has no bfloat16; a CPU is quickest and exact in float32.
    """
    if precision is not Precision.AUTO:
        return {
            Precision.FLOAT32: torch.float32,
            Precision.FLOAT16: torch.float16,
            Precision.BFLOAT16: torch.bfloat16,
        }[precision]
    if device.type != "cuda":
        return torch.float32
    modern = torch.cuda.get_device_capability(device)[0] >= 8  # Ampere
    return torch.bfloat16 if modern else torch.float16


def _check_types(unet: Unet, backend: Backend) -> None:
    layers = [one for one in unet.transformer.modules() if isinstance(one, PackedLinear)]
    packed = any(isinstance(one.kind, TensorType) for one in layers)
    if packed and backend is not Backend.GGUF:
        raise TrainingError(
            f"the base {backend} needs a file of plain numbers",
            path=unet.path,
            why="its weights are quantised already",
            fix="Name an FP16 or BF16 file (--unet), or use --backend gguf",
        )
    if backend is Backend.BF16 and any(one.kind not in _FLOATS for one in layers):
        raise TrainingError("the base bf16 needs F32, F16 or BF16 weights", path=unet.path)


def _whole(unet: Unet, device: torch.device) -> None:
    unet.transformer.to(device)


def _four_bits(unet: Unet, device: torch.device) -> None:
    nf4.pack(unet.transformer, device)
    unet.transformer.to(device)


_PLACED: dict[Backend, Callable[[Unet, torch.device], None]] = {
    Backend.GGUF: _whole,
    Backend.BF16: _whole,
    Backend.NF4: _four_bits,
}
