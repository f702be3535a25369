"""Weights as the file packs them, and layers that unpack them when they compute.

A ``Packed`` tensor is a slice of the mapped file: rows of a fused tensor are a contiguous byte
range, so splitting q, k and v costs nothing. ``PackedLinear`` unpacks its weight at each forward
and drops it again; only the packed bytes stay in memory. Works for every GGUF type and for plain
F32, F16, BF16 (and F8 text encoders). Knows nothing of Flux.

Q4_K, 144 bytes for 256 weights (ggml ``block_q4_K``)::

    d f16 | dmin f16 | 12 bytes: eight 6-bit scales and eight 6-bit mins | 128 bytes: 4-bit quants

    weight = d * scale[sub-block] * quant - dmin * min[sub-block]     sub-block = 32 weights
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import torch
from diffusers.quantizers.gguf.utils import dequantize_functions
from torch import nn

from host.errors import RenderError
from models import gguf_file, safetensors_file
from models.gguf_file import GgufFile
from models.safetensors_file import SafetensorsFile
from models.tensor_types import BLOCKS, TensorType

PLAIN: Mapping[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""What safetensors (and, for the first three, GGUF) may hold unquantised."""

Kind = TensorType | torch.dtype
"""A block type of GGUF, or the dtype of plain numbers."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor that is not unpacked yet.

    Attributes:
        data: uint8, one dimension; usually a view into the mapped file.
        kind: how to unpack it.
        shape: row-major shape once unpacked.
    """

    data: torch.Tensor
    kind: Kind
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one row (of one number, if there is one dimension)."""
        return int(self.data.numel() // self.shape[0])

    def rows(self, start: int, count: int) -> "Packed":
        """Return some rows, without copying."""
        size = self.row_bytes
        part = self.data[start * size : (start + count) * size]
        return replace(self, data=part, shape=(count, *self.shape[1:]))

    def swapped(self) -> "Packed":
        """Return the same with the second half of the rows first (a copy)."""
        half = self.shape[0] // 2 * self.row_bytes
        return replace(self, data=torch.cat([self.data[half:], self.data[:half]]))

    def unpack(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the numbers."""
        return unpack(self.data, self.kind, self.shape, dtype)


def unpack(
    data: torch.Tensor, kind: Kind, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    """Return packed numbers as a tensor.

    Args:
        data: uint8, as many bytes as ``shape`` needs.
        kind: how they are packed.
        shape: row-major shape of the result.
        dtype: type of the result. Block types are unpacked in float32 first: exact, and on a CPU
            faster than float16 arithmetic.
    """
    if isinstance(kind, torch.dtype):
        return _aligned(data, kind.itemsize).view(kind).view(shape).to(dtype)
    block = BLOCKS[kind]
    blocks = _aligned(data, 2).view(-1, block.nbytes)
    if kind is TensorType.Q4_K:
        numbers = _unpack_q4_k(blocks)
    else:
        function = dequantize_functions[gguf.GGMLQuantizationType(int(kind))]
        numbers = function(blocks, block.size, block.nbytes, torch.float32)
    return numbers.reshape(shape).to(dtype)


def _aligned(data: torch.Tensor, size: int) -> torch.Tensor:
    """Return the bytes where a view of ``size``-byte numbers is allowed."""
    return data if data.storage_offset() % size == 0 else data.clone()


def _unpack_q4_k(blocks: torch.Tensor) -> torch.Tensor:
    count = blocks.shape[0]
    factors = blocks[:, :4].view(torch.float16).float()  # d and dmin
    packed = blocks[:, 4:16].view(count, 3, 4)
    low, high = packed[:, :2], packed[:, 2]
    # Scales and mins 0-3 are the low 6 bits of the first 8 bytes; 4-7 join the last 4 bytes
    # (4 bits each) with the 2 bits left over there.
    tail = torch.stack([high & 15, high >> 4], 1) | ((low >> 6) << 4)
    scales = torch.cat([low & 63, tail], -1).float() * factors.unsqueeze(-1)
    quants = blocks[:, 16:].view(count, 4, 1, 32)
    numbers = torch.cat([quants & 15, quants >> 4], 2).float().view(count, 8, 32)
    return numbers.mul_(scales[:, 0, :, None]).sub_(scales[:, 1, :, None])


class PackedLinear(nn.Linear):
    """A linear layer whose weight stays packed.

    Where it lies need not be where it computes: bytes that lie elsewhere are copied for one
    forward, and dropped with the unpacked weight (:mod:`host.residency` says which).

    ``weight`` holds the bytes as int8: transformers and peft look at a weight's dtype to choose
    the dtype of activations and adapters, and leave both alone when it is int8.
    """

    def __init__(self, weight: Packed, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.kind = weight.kind
        self.dtype = dtype
        self._loaded = weight.data.view(self.out_features, -1).view(torch.int8)
        self.weight = nn.Parameter(self._loaded, requires_grad=False)
        given = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)
        self.register_parameter("bias", given)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the packed weight."""
        return self._loaded.numel()

    def stay(self, device: torch.device | None) -> None:
        """Keep the packed bytes on a device; None: where they were loaded."""
        wanted = self._loaded if device is None else self._loaded.to(device)
        if wanted.device != self.weight.device:
            self.weight = nn.Parameter(wanted, requires_grad=False)

    def unpacked(self, device: torch.device | None = None) -> torch.Tensor:
        """Return the weight, shape (out_features, in_features), on a device or where it lies."""
        data = self.weight.to(device or self.weight.device).view(torch.uint8).view(-1)
        return unpack(data, self.kind, (self.out_features, self.in_features), self.dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.Linear's name
        """Apply the layer."""
        return nn.functional.linear(input, self.unpacked(input.device), self.bias)


class PackedEmbedding(nn.Module):
    """A table of which only the rows that are looked up are unpacked."""

    def __init__(self, weight: Packed, dtype: torch.dtype) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.kind = weight.kind
        self.dtype = dtype
        rows = weight.data.view(self.num_embeddings, -1).view(torch.int8)
        self.weight = nn.Parameter(rows, requires_grad=False)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        """Return the rows that ``index`` (any shape) names."""
        picked = self.weight.view(torch.uint8)[index.reshape(-1)]
        numbers = unpack(
            picked.reshape(-1), self.kind, (picked.shape[0], self.embedding_dim), self.dtype
        )
        return numbers.view(*index.shape, self.embedding_dim)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The tensors of one file, mapped and packed.

    Attributes:
        path: the file.
        tensors: name to packed tensor.
        metadata: the header's metadata.
    """

    path: Path
    tensors: Mapping[str, Packed]
    metadata: Mapping[str, object]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor."""
        return {name: packed.shape for name, packed in self.tensors.items()}


def open_weights(path: Path) -> WeightFile:
    """Map a GGUF or safetensors file.

    Raises:
        ModelError: it is neither, or damaged.
        RenderError: it holds numbers of a type that no model has.
    """
    if path.suffix.lower() == ".gguf":
        return _map_gguf(gguf_file.read_header(path))
    return _map_safetensors(safetensors_file.read_header(path))


def _map_gguf(header: GgufFile) -> WeightFile:
    content = _mapped(header.path)
    tensors = {
        info.name: Packed(
            content[info.offset : info.offset + info.nbytes],
            PLAIN.get(info.type.name, info.type),
            info.shape,
        )
        for info in header.tensors
    }
    return WeightFile(header.path, tensors, header.metadata)


def _map_safetensors(header: SafetensorsFile) -> WeightFile:
    content = _mapped(header.path)
    tensors: dict[str, Packed] = {}
    for info in header.tensors:
        if info.dtype not in PLAIN:
            continue  # an index, a counter: no model weight is an integer
        part = content[info.offset : info.offset + info.nbytes]
        tensors[info.name] = Packed(part, PLAIN[info.dtype], info.shape)
    if not tensors:
        raise RenderError("the file holds no weights", path=header.path)
    return WeightFile(header.path, tensors, header.metadata)


def _mapped(path: Path) -> torch.Tensor:
    """Map a file privately: pages are shared with the page cache until someone writes to them."""
    size = path.stat().st_size
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
