"""GGUF files: read and check the header.

A file is: magic, version, counts | key-value metadata | tensor infos | padding | tensor data, each
tensor aligned. Reading never touches the data, needs no numpy, and trusts nothing: every length is
checked against what is left before it is believed, so garbage gives a ModelError and never a large
allocation. The writing side is models/gguf_layout.py.

It does not know what a tensor means. Format: ggml, docs/gguf.md.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from models import signature
from models.errors import ModelError
from models.tensor_types import TensorType, byte_size

HEADER_LIMIT = 64 << 20  # bytes; the largest known, a vocabulary of 256 000 words, has 12 MB
MAX_DIMS = 4
DEFAULT_ALIGNMENT = 32

# The format's value type ids as struct codes; two ids are no numbers.
_NUMBERS: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: row-major shape (out, in), and `nbytes` bytes from `offset` of the file."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The header of one file; tensors in the order of their infos."""

    path: Path
    metadata: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to row-major shape."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    def tensor(self, name: str) -> GgufTensor:
        """Find a tensor by its name; ModelError if the file has none such."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise ModelError(f"there is no tensor {name!r}", path=self.path)


class _HeaderError(ValueError):
    """A finding about the header; read_header adds the path."""


class _Cursor:
    """Takes the header apart from front to back and never reads past its limit."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.left = min(size, HEADER_LIMIT)
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _HeaderError(f"the header wants {count} bytes at {self.position}, where it ends")
        self.left -= count
        self.position += count
        return self._file.read(count)

    def numbers(self, code: str, count: int) -> tuple[int | float | bool, ...]:
        packed = self.take(struct.calcsize(f"<{code}") * count)
        return struct.unpack(f"<{count}{code}", packed)

    def natural(self, code: str) -> int:
        return int(self.numbers(code, 1)[0])

    def string(self) -> str:
        return self.take(self.natural("Q")).decode("utf-8")

    def value(self, kind: int) -> Value:
        if kind == _ARRAY:
            element, count = self.natural("I"), self.natural("Q")
            if element == _STRING:
                # Each string has a length of 8 bytes, so a false count ends at the limit.
                return tuple(self.string() for _ in range(count))
            return self.numbers(_number_code(element), count)
        return self.string() if kind == _STRING else self.numbers(_number_code(kind), 1)[0]


def _number_code(kind: int) -> str:
    if kind not in _NUMBERS:
        raise _HeaderError(f"there is no value type {kind}")
    return _NUMBERS[kind]


def _read(cursor: _Cursor) -> tuple[dict[str, Value], list[GgufTensor]]:
    """Parse everything behind the magic; offsets come out relative to the file."""
    version = cursor.natural("I")
    if version not in (2, 3):
        raise _HeaderError(f"version {version} is none that Vulcan reads (2 and 3)")
    tensor_count, value_count = cursor.natural("Q"), cursor.natural("Q")
    metadata: dict[str, Value] = {}
    for _ in range(value_count):
        key = cursor.string()
        if key in metadata:
            raise _HeaderError(f"the key {key!r} occurs twice")
        metadata[key] = cursor.value(cursor.natural("I"))
    tensors = [_tensor(cursor) for _ in range(tensor_count)]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _HeaderError("a tensor's name occurs twice")
    return metadata, _placed(tensors, cursor.position, _alignment(metadata))


def _tensor(cursor: _Cursor) -> GgufTensor:
    name = cursor.string()
    dims = cursor.natural("I")
    if not 1 <= dims <= MAX_DIMS:
        raise _HeaderError(f"{name!r} has {dims} dimensions")
    # The format counts dimensions from the inside out: ne0 is the row's length.
    shape = tuple(int(size) for size in reversed(cursor.numbers("Q", dims)))
    if not all(1 <= size < 1 << 40 for size in shape):
        raise _HeaderError(f"{name!r} has the shape {shape}")
    kind = cursor.natural("I")
    if kind not in TensorType.__members__.values():
        raise _HeaderError(f"{name!r} has tensor type {kind}, which Vulcan cannot use")
    try:
        nbytes = byte_size(shape, TensorType(kind))
    except ModelError as error:
        raise _HeaderError(f"{name!r}: {error}") from error
    return GgufTensor(name, shape, TensorType(kind), cursor.natural("Q"), nbytes)


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 8 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise _HeaderError(f"an alignment of {alignment!r} is impossible")
    return alignment


def _placed(tensors: list[GgufTensor], header_end: int, alignment: int) -> list[GgufTensor]:
    """Turn offsets relative to the data into offsets in the file, and check that none overlap."""
    start = -(-header_end // alignment) * alignment
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment or tensor.offset < end:
            raise _HeaderError(f"{tensor.name!r} overlaps another tensor or is not aligned")
        end = tensor.offset + tensor.nbytes
    return [
        GgufTensor(tensor.name, tensor.shape, tensor.type, start + tensor.offset, tensor.nbytes)
        for tensor in tensors
    ]


def read_header(path: Path) -> GgufFile:
    """Read and check the header of one file; the data stays on disk.

    Raises:
        ModelError: the file cannot be read, is something else, truncated or malformed.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check_magic(path, file.read(64))
            file.seek(0)
            cursor = _Cursor(file, size)
            cursor.take(4)
            metadata, tensors = _read(cursor)
    except OSError as error:
        raise ModelError("it cannot be read", path=path, why=error.strerror or "") from error
    except (ValueError, struct.error) as error:  # UnicodeDecodeError is a ValueError
        raise _damaged(path, f"the header is malformed: {error}") from error
    end = max((tensor.offset + tensor.nbytes for tensor in tensors), default=0)
    if end > size:
        raise _damaged(path, f"it is truncated: {size} of at least {end} bytes are there")
    return GgufFile(path, metadata, tuple(tensors))


def _check_magic(path: Path, first: bytes) -> None:
    if not first.startswith(b"GGUF"):
        kind = signature.describe(first)
        raise ModelError(
            "it is no GGUF file",
            path=path,
            why=f"it is {kind}" if kind else "it does not begin with GGUF",
            fix="Use the model's .gguf file",
        )
    if first[4:8] in (b"\x00\x00\x00\x02", b"\x00\x00\x00\x03"):
        raise ModelError(
            "it is a GGUF file for big-endian machines", path=path, fix="Use the usual one"
        )


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError("the GGUF file is damaged", path=path, why=why, fix="Make or copy it again")
