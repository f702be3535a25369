"""The writing side of GGUF: from names, shapes and types to a header and every tensor's place.

Sizes follow from shapes and types alone, so the whole header is known before a single weight is
read. That is what lets a conversion write the header first and then stream, in bounded memory.

The header's bytes come from the gguf package's own writer; nothing here writes a file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from models.gguf_file import DEFAULT_ALIGNMENT, GgufTensor, Scalar
from models.tensor_types import FileType, TensorType, byte_size

if TYPE_CHECKING:
    from gguf import GGUFWriter

QUANTIZATION_VERSION = 2  # ggml's GGML_QNT_VERSION: the packing of the K types since 2023


@dataclass(frozen=True, slots=True)
class Layout:
    """A GGUF file before its data; `header` is padded, offsets count from the file's start."""

    header: bytes
    tensors: tuple[GgufTensor, ...]
    total_bytes: int


def layout(
    architecture: str,
    file_type: FileType,
    tensors: Iterable[tuple[str, tuple[int, ...], TensorType]],
    values: Sequence[tuple[str, Scalar]] = (),
) -> Layout:
    """Place tensors (name, row-major shape, type) one after the other, in the order given.

    Args:
        architecture: what loaders know the model by.
        file_type: the recipe.
        tensors: name, shape and type of each.
        values: further metadata; integers are written as uint32, floats as float32.

    Raises:
        ModelError: a type cannot hold a tensor of its shape.
    """
    sized = [(name, shape, kind, byte_size(shape, kind)) for name, shape, kind in tensors]
    header = _header(architecture, file_type, sized, values)
    placed: list[GgufTensor] = []
    offset = len(header)
    for name, shape, kind, nbytes in sized:
        placed.append(GgufTensor(name, shape, kind, offset, nbytes))
        offset += padded(nbytes)  # the last one too
    return Layout(header, tuple(placed), offset)


def padded(nbytes: int) -> int:
    """Bytes that so many take up: the next tensor begins at a multiple of the alignment."""
    return -(-nbytes // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _header(
    architecture: str,
    file_type: FileType,
    tensors: Sequence[tuple[str, tuple[int, ...], TensorType, int]],
    values: Sequence[tuple[str, Scalar]],
) -> bytes:
    """Magic, the three values that loaders ask for and others between them, infos, padding."""
    # Imported here: it brings numpy, which a reader of headers never needs.
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.gguf_writer import WriterState

    writer = GGUFWriter(path=None, arch=architecture)  # writes general.architecture first
    for key, value in values:
        _add(writer, key, value)
    # Last, as llama-quantize leaves them.
    writer.add_quantization_version(QUANTIZATION_VERSION)
    writer.add_file_type(file_type)
    for name, shape, kind, nbytes in tensors:
        # The dtype only matters where no raw_dtype is given.
        writer.add_tensor_info(name, shape, np.dtype("f4"), nbytes, GGMLQuantizationType(kind))
    buffer = BytesIO()
    writer.fout, writer.state = [buffer], WriterState.EMPTY  # what open_output_file() does
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    header = buffer.getvalue()
    return header.ljust(padded(len(header)), b"\0")


def _add(writer: "GGUFWriter", key: str, value: Scalar) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
