"""The numbers of a LoRA's matrices, as float32, read from the file one matrix at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models import safetensors_file
from models.errors import ModelError
from models.safetensors_file import DTYPE_BYTES, TensorInfo
from quantize import decode

Matrix: TypeAlias = NDArray[np.float32]


class LoraValues:
    """Reads matrices of one open file.

    Args:
        path: the file, to be named in errors.
        fd: the same, open for reading.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd

    def rows(self, info: TensorInfo, start: int = 0, count: int | None = None) -> Matrix:
        """Rows of a matrix, all by default, as float32 (rows, width); exact.

        Raises:
            ModelError: the file ended early.
        """
        rows = info.shape[0] - start if count is None else count
        width = prod(info.shape[1:])
        values = np.empty(rows * width, np.float32)
        stride = width * DTYPE_BYTES[info.dtype]
        raw = self._read(info.offset + start * stride, rows * stride)
        decode.decode(raw, info.dtype, values)
        return values.reshape(rows, width)

    def raw(self, info: TensorInfo) -> NDArray[np.uint8]:
        """A tensor's stored bytes, whatever it is.

        Raises:
            ModelError: the file ended early.
        """
        return self._read(info.offset, info.nbytes)

    def _read(self, offset: int, nbytes: int) -> NDArray[np.uint8]:
        raw = np.empty(nbytes, np.uint8)
        try:
            safetensors_file.read_into(self._fd, offset, raw.data)
        except ModelError as error:
            raise error.about(self._path) from error
        return raw


@contextmanager
def opened(path: Path) -> Iterator[LoraValues]:
    """Open a LoRA for reading its matrices.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb", buffering=0) as file:
        yield LoraValues(path, file.fileno())
