"""What ComfyUI sees of a model file when it counts memory: modules, and the bytes of each.

ComfyUI loads module by module, never half of one. What a module weighs is the bytes of its
state dict; GGUF weights count as they are packed. Two things differ from the file: parameters that
are not a GGUF layer's own are cast to the compute dtype, and the layer with the largest packed
weight also counts the F16 copy that dequantising it will need.

It reads no file (headers come as arguments) and knows no card (models/vram_card.py does).
Sources: ComfyUI 0.3.64, comfy/model_management.py:414 (module_size), comfy/model_patcher.py:621
(_load_list), comfy/sd1_clip.py:85, comfy/sd.py:277; ComfyUI-GGUF 795e451, ops.py:74-148,
loader.py:119-126. Compared with both by tests/test_vram_comfyui.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, prod

from models import flux
from models.errors import ModelError
from models.flux import FluxShape
from models.gguf_file import GgufFile
from models.safetensors_file import DTYPE_BYTES, SafetensorsFile
from models.tensor_types import TensorType, byte_size

COMPUTE_BYTES = 2  # of one number in BF16 or F16, what Flux is computed in on any RTX card

TORCH_TYPES = (TensorType.F32, TensorType.F16)  # everything else is unpacked for each use
# Bytes for each weight that live at most while ComfyUI-GGUF's dequant.py unpacks a layer, counted
# in its own code (tests/data/comfyui_memory); Q4_1, Q5_0 and Q5_1 as their neighbours.
UNPACKING = {
    TensorType.BF16: 8.04,
    TensorType.Q4_0: 4.03,
    TensorType.Q4_1: 5.3,
    TensorType.Q5_0: 7.3,
    TensorType.Q5_1: 7.3,
    TensorType.Q8_0: 4.05,
    TensorType.Q2_K: 5.28,
    TensorType.Q3_K: 5.34,
    TensorType.Q4_K: 5.22,
    TensorType.Q5_K: 7.23,
    TensorType.Q6_K: 5.17,
}
_SCHEDULE = 10000 * 4  # bytes of model_sampling.sigmas (comfy/model_sampling.py:353)
_UNET = "diffusion_model."

Sized = tuple[str, tuple[int, ...], TensorType]


@dataclass(frozen=True, slots=True)
class Module:
    """One module that is on the card or is not.

    Attributes:
        name: as ComfyUI names it; modules of one size go by it.
        nbytes: what ComfyUI counts.
        streamed: bytes that cross the bus at each use while it is not on the card.
        castable: it may be used from the machine's memory; others are tiny norms.
        unpacked: bytes of its weight once unpacked; 0 if it is used as it is stored.
        unpacking: the most bytes that live while it is unpacked.
    """

    name: str
    nbytes: int
    streamed: int
    castable: bool = True
    unpacked: int = 0
    unpacking: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """A model as ComfyUI loads it.

    Attributes:
        name: the class that ComfyUI's log names.
        modules: all of them.
        buffers: bytes that count for the model and for no module.
    """

    name: str
    modules: tuple[Module, ...]
    buffers: int = 0

    @property
    def size(self) -> int:
        """ComfyUI's model_size(): bytes when all of it is on the card."""
        return sum(module.nbytes for module in self.modules) + self.buffers


# --- the unet -------------------------------------------------------------------------------------


def unet(tensors: Iterable[Sized]) -> Weights:
    """Modules of a FLUX.1 in a GGUF: name, row-major shape and type of each tensor."""
    listed = list(tensors)
    most = largest(listed)
    grouped: dict[str, list[Sized]] = {}
    for tensor in listed:
        grouped.setdefault(tensor[0].rpartition(".")[0], []).append(tensor)
    modules = (_gguf_module(f"{_UNET}{name}", group, most) for name, group in grouped.items())
    return Weights("Flux", tuple(modules), _SCHEDULE)


def unet_of(header: GgufFile) -> tuple[FluxShape, Weights]:
    """Sizes and modules of a FLUX.1 GGUF.

    Raises:
        ModelError: it is no FLUX.1, or not complete.
    """
    names = flux.reference_names(header.shapes)
    listed = [(t.name, t.shape, t.type) for t in header.tensors]
    stripped = {own: name for name, own in names.items()}
    inside = [(stripped[name], shape, kind) for name, shape, kind in listed if name in stripped]
    try:
        shape = flux.detect({name: size for name, size, _ in inside})
    except ModelError as error:
        raise error.about(header.path) from error
    return shape, unet(inside)


def plain_unet(shape: FluxShape, bytes_each: int) -> Weights:
    """Modules of a FLUX.1 that is no GGUF: 2 bytes a weight for F16 and BF16, 1 for FP8."""
    grouped: dict[str, int] = {}
    for name, size in flux.tensor_shapes(shape).items():
        module = f"{_UNET}{name.rpartition('.')[0]}"
        grouped[module] = grouped.get(module, 0) + prod(size) * bytes_each
    modules = tuple(
        Module(name, size, size, castable=not _is_norm(name), unpacked=cast(size, bytes_each))
        for name, size in grouped.items()
    )
    return Weights("Flux", modules, _SCHEDULE)


def cast(nbytes: int, bytes_each: int) -> int:
    """Bytes of the copy in the compute dtype that using a module takes."""
    return 0 if bytes_each == COMPUTE_BYTES else nbytes // bytes_each * COMPUTE_BYTES


def largest(tensors: Sequence[Sized]) -> str:
    """The first of the tensors with the most packed bytes (loader.py:123); empty if none is."""
    packed = {
        name: byte_size(shape, kind)
        for name, shape, kind in tensors
        if kind not in TORCH_TYPES and len(shape) > 1
    }
    return max(packed, key=packed.__getitem__, default="")


def _is_norm(module: str) -> bool:
    return module.endswith(("query_norm", "key_norm"))


def _gguf_module(module: str, tensors: Sequence[Sized], largest: str) -> Module:
    """A GGUF layer; Flux's norms are plain parameters in the compute dtype, and tiny."""
    weights = sum(prod(shape) for _, shape, _ in tensors)
    if _is_norm(module):
        size = weights * COMPUTE_BYTES
        return Module(module, size, size, castable=False)
    size = sum(_loaded_bytes(shape, kind) for _, shape, kind in tensors)
    packed = [(prod(shape), kind) for _, shape, kind in tensors if kind not in TORCH_TYPES]
    extra = sum(prod(shape) * 2 for name, shape, _ in tensors if name == largest)
    return Module(
        module,
        size + extra,
        size,
        unpacked=max((count * COMPUTE_BYTES for count, _ in packed), default=0),
        unpacking=max((ceil(count * UNPACKING[kind]) for count, kind in packed), default=0),
    )


def _loaded_bytes(shape: tuple[int, ...], kind: TensorType) -> int:
    """Bytes after loading: BF16 vectors become F32 (loader.py:113)."""
    if kind is TensorType.BF16 and len(shape) == 1:
        return byte_size(shape, TensorType.F32)
    return byte_size(shape, kind)


def bytes_each(header: SafetensorsFile) -> int:
    """Bytes of a weight as ComfyUI keeps it: FP8 stays, wider ones become halves."""
    totals: dict[str, int] = {}
    for tensor in header.tensors:
        totals[tensor.dtype] = totals.get(tensor.dtype, 0) + tensor.nbytes
    most = max(totals, key=totals.__getitem__, default="F16")
    return min(DTYPE_BYTES[most], COMPUTE_BYTES)
