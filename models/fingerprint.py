"""A model's identity without reading all of it: sizes, headers, and samples of every tensor.

Hashing 24 GB takes as long as converting them. A model that was trained, merged or converted anew
differs in nearly every weight of nearly every tensor, so a few kilobytes from the front, the middle
and the end of each tell it. What they do not tell is a file edited by hand in between.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from models import safetensors_file
from models.errors import ModelError
from models.safetensors_file import SafetensorsFile, TensorInfo

_SAMPLE = 4096  # bytes


def of(paths: Sequence[Path]) -> str:
    """The fingerprint of a model's safetensors files, in hex; their names do not count.

    Raises:
        ModelError: one of them is damaged, or changes meanwhile.
    """
    digest = hashlib.sha256()
    for path in paths:
        file = safetensors_file.read_header(path)
        try:
            with path.open("rb", buffering=0) as data:
                _add(digest, data.fileno(), file)
        except ModelError as error:
            raise error.about(path) from error
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", fd: int, file: SafetensorsFile) -> None:
    start = min((tensor.offset for tensor in file.tensors), default=0)
    digest.update(f"{os.fstat(fd).st_size}:{start}:".encode())
    digest.update(_read(fd, 0, start))
    for tensor in file.tensors:
        for place in _places(tensor):
            digest.update(_read(fd, place, min(_SAMPLE, tensor.nbytes)))


def _places(tensor: TensorInfo) -> tuple[int, ...]:
    """Where the samples begin; a small tensor is one."""
    room = tensor.nbytes - _SAMPLE
    if room <= 0:
        return (tensor.offset,)
    return tensor.offset, tensor.offset + room // 2, tensor.offset + room


def _read(fd: int, offset: int, nbytes: int) -> bytearray:
    data = bytearray(nbytes)
    safetensors_file.read_into(fd, offset, memoryview(data))
    return data
