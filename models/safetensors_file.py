"""safetensors files: read the header, read bytes of a tensor, write a small file.

A file is: 8 bytes header length (little endian) | JSON header | tensor data without gaps. The
header maps each name to dtype, shape and a byte range relative to the data; `__metadata__` holds
strings. Reading never touches the data, needs no numpy and trusts nothing: whatever bytes come in,
the answer is a SafetensorsFile that lies inside the file, or a ModelError.

It does not know what a tensor means (models/flux.py, models/lora.py do) and holds no tensor.
Format: https://huggingface.co/docs/safetensors, section Format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import signature, store
from models.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

HEADER_LIMIT = 100_000_000  # bytes; the same limit as in the safetensors library

DTYPE_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
    "F8_E8M0": 1,
    "C64": 8,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies: `nbytes` bytes from `offset`, counted from the file's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """The header of one file; tensors in the order in which their bytes lie."""

    path: Path
    metadata: Mapping[str, str]
    tensors: tuple[TensorInfo, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names in file order."""
        return tuple(tensor.name for tensor in self.tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape, in file order."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor by its name; ModelError if the file has none such."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise ModelError(f"there is no tensor {name!r}", path=self.path)


class _HeaderError(ValueError):
    """A finding about the header; read_header adds the path."""


def parse_header(header: bytes, data_start: int) -> tuple[dict[str, str], list[TensorInfo]]:
    """Parse the JSON header into metadata and tensors, sorted by offset.

    Raises:
        ValueError: it is malformed; the text says how. (JSON and Unicode errors are ValueErrors.)
    """
    try:
        table = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise _HeaderError("its JSON is nested too deep") from None
    if not isinstance(table, dict):
        raise _HeaderError("its JSON is no table of tensors")
    metadata = _metadata(table.pop("__metadata__", None))
    tensors = [_tensor(name, entry, data_start) for name, entry in table.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    _check_contiguous(tensors, data_start)
    return metadata, tensors


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise _HeaderError("a name occurs twice")
    return table


def _metadata(entry: object) -> dict[str, str]:
    if entry is None:
        return {}
    if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
        raise _HeaderError("__metadata__ holds something other than text")
    _check_printable(*entry.keys(), *entry.values())
    return entry


def _check_printable(*texts: str) -> None:
    """JSON can spell half a character (a lone surrogate), which could never be printed."""
    for text in texts:
        text.encode("utf-8")  # raises a ValueError


def _tensor(name: str, entry: object, data_start: int) -> TensorInfo:
    _check_printable(name)
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            pass
        case _:
            raise _HeaderError(f"the entry of {name!r} lacks dtype, shape or data_offsets")
    # `type(...) is int`: JSON's true is an int to isinstance.
    if not all(type(number) is int and 0 <= number < 1 << 62 for number in (*shape, begin, end)):
        raise _HeaderError(f"{name!r} has a shape or offset that is no natural number")
    if dtype not in DTYPE_BYTES:
        raise _HeaderError(f"{name!r} has the unknown dtype {dtype!r}")
    if end - begin != prod(shape) * DTYPE_BYTES[dtype]:
        raise _HeaderError(
            f"{name!r} is {dtype} {shape}, that is {prod(shape) * DTYPE_BYTES[dtype]} bytes, "
            f"but {end - begin} are set aside"
        )
    return TensorInfo(name, dtype, tuple(shape), data_start + begin, end - begin)


def _check_contiguous(tensors: list[TensorInfo], data_start: int) -> None:
    position = data_start
    for tensor in tensors:
        if tensor.offset != position:
            kind = "overlaps the tensor before it" if tensor.offset < position else "follows a gap"
            raise _HeaderError(f"{tensor.name!r} {kind}")
        position += tensor.nbytes


def read_header(path: Path) -> SafetensorsFile:
    """Read and check the header of one file; the data stays on disk.

    Raises:
        ModelError: the file cannot be read, is something else, truncated or malformed.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = _header_length(path, file.read(64), size)
            file.seek(8)
            header = file.read(length)
    except OSError as error:
        raise ModelError(
            "it cannot be read",
            path=path,
            why=error.strerror or "",
            fix="Check the path, and that you may read it",
        ) from error
    try:
        metadata, tensors = parse_header(header, 8 + length)
    except ValueError as error:
        raise _damaged(path, f"the header is malformed: {error}") from error
    end = tensors[-1].offset + tensors[-1].nbytes if tensors else 8 + length
    if end > size:
        raise _truncated(path, size, end)
    if end < size:
        raise _damaged(path, f"{size - end} bytes lie behind the last tensor")
    return SafetensorsFile(path, metadata, tuple(tensors))


def _header_length(path: Path, first: bytes, size: int) -> int:
    length = int.from_bytes(first[:8], "little")
    kind = signature.describe(first)
    if kind != signature.SAFETENSORS:
        raise ModelError(
            "it is no safetensors file",
            path=path,
            why=f"it is {kind}" if kind else "it does not begin with a safetensors header",
            fix="Use the model's .safetensors file",
        )
    if not 2 <= length <= HEADER_LIMIT:
        raise _damaged(path, f"a header of {length} bytes is impossible")
    if 8 + length > size:
        raise _truncated(path, size, 8 + length)
    return length


def _truncated(path: Path, size: int, expected: int) -> ModelError:
    return ModelError(
        "the file is truncated",
        path=path,
        why=f"{size} of at least {expected} bytes are there",
        fix="Download or copy it again",
    )


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        "the safetensors file is damaged", path=path, why=why, fix="Download or copy it again"
    )


def read_into(fd: int, offset: int, buffer: memoryview) -> None:
    """Fill `buffer` (bytes) from `offset` of an open file; no file position is shared or moved.

    Raises:
        ModelError: the file ends before the buffer is full (it shrank since its header was read).
        OSError: the disk failed.
    """
    done = 0
    while done < len(buffer):
        count = os.preadv(fd, [buffer[done:]], offset + done)
        if count == 0:
            raise ModelError(
                "the file ended early",
                why=f"at byte {offset + done}, {len(buffer) - done} bytes short",
                fix="Make sure that nothing writes to it, then try again",
            )
        done += count


def write(
    path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]
) -> None:
    """Write a small file atomically: the same arrays and metadata always give the same bytes."""
    store.atomic_write(path, serialise(arrays, metadata))


def serialise(arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file, tensors in the order given.

    Own code, although the safetensors package writes files too: that one puts `__metadata__` in
    random order (Rust's HashMap), so the same model would get another hash each time.
    """
    specs = {name: (_dtype_name(array), array.shape) for name, array in arrays.items()}
    return b"".join([header(specs, metadata), *(a.tobytes() for a in arrays.values())])


def header(specs: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> bytes:
    """The bytes before the data, for tensors of these dtypes and shapes, in the order given."""
    table: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, (dtype, shape) in specs.items():
        span = [offset, offset + prod(shape) * DTYPE_BYTES[dtype]]
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8, as the format asks
    return len(text).to_bytes(8, "little") + text


def _dtype_name(array: np.ndarray[Any, Any]) -> str:
    kind = {"f": "F", "i": "I", "u": "U"}[array.dtype.kind]
    return f"{kind}{array.dtype.itemsize * 8}"
