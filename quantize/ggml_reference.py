"""ggml's own quantiser, called through ctypes: the oracle, and the engine for a few types.

Its way back, from blocks to weights, is the witness of what was packed.

It lives in the libggml-base that llama-cpp-python brings. Only that library is loaded, never the
llama_cpp module, which would pull the whole of llama.cpp into the process.

    size_t ggml_quantize_chunk(enum ggml_type type, const float * src, void * dst,
                               int64_t start, int64_t nrows, int64_t n_per_row,
                               const float * imatrix);

    void dequantize_row_q4_K(const block_q4_K * x, float * y, int64_t k);   and so on

ggml answers a wrong argument by abort(), so every argument is checked before the call.
"""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tensor_types import TensorType, byte_size
from quantize.errors import Problem, QuantizeError

_LIBRARIES = ("libggml-base.so", "libggml-base.dylib")


class _InitParams(ctypes.Structure):
    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


def library_path() -> Path:
    """Where llama-cpp-python keeps libggml-base; found without importing it.

    Raises:
        QuantizeError: it is not installed.
    """
    spec = importlib.util.find_spec("llama_cpp")
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for name in _LIBRARIES:
            path = Path(folder) / "lib" / name
            if path.is_file():
                return path
    raise QuantizeError(
        Problem.NO_ENGINE,
        "ggml's quantiser is missing",
        why="llama-cpp-python, which brings it, is not installed",
        fix="Run `pip install -r requirements.txt`",
    )


@cache
def _library() -> ctypes.CDLL:
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))  # releases the GIL during each call
    except OSError as error:
        raise QuantizeError(
            Problem.NO_ENGINE,
            "ggml's quantiser does not load",
            path=path,
            why=str(error),
            fix="Reinstall llama-cpp-python",
        ) from error
    int64, pointer = ctypes.c_int64, ctypes.c_void_p
    library.ggml_quantize_chunk.argtypes = (
        ctypes.c_int, pointer, pointer, int64, int64, int64, pointer,
    )  # fmt: skip
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_validate_row_data.argtypes = (ctypes.c_int, pointer, ctypes.c_size_t)
    library.ggml_validate_row_data.restype = ctypes.c_bool
    _fill_tables(library)
    return library


def _fill_tables(library: ctypes.CDLL) -> None:
    """The first ggml_init() fills the F16 tables that the quantisers read."""
    library.ggml_init.argtypes = (_InitParams,)
    library.ggml_init.restype = ctypes.c_void_p
    library.ggml_free.argtypes = (ctypes.c_void_p,)
    library.ggml_free.restype = None
    library.ggml_free(library.ggml_init(_InitParams(1 << 10, None, False)))


class GgmlKernel:
    """Packs rows of one type by ggml_quantize_chunk (a quantize.widening.Engine)."""

    def __init__(self, tensor_type: TensorType) -> None:
        self._type = tensor_type
        self._library = _library()

    def quantise(self, rows: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Pack `rows` (n, width), finite and C-contiguous, into exactly `out`.

        Raises:
            OverflowError: weights so large that a block's F16 scale is infinite.
        """
        self.blocks(rows, out)
        if not self._library.ggml_validate_row_data(self._type, out.ctypes.data, out.nbytes):
            raise OverflowError(f"a scale of {self._type.name} is not finite")

    def blocks(self, rows: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """As quantise(), without the look at the scales."""
        nbytes = byte_size(rows.shape, self._type)
        if rows.ndim != 2 or rows.dtype != np.float32 or not rows.flags.c_contiguous:
            raise ValueError("ggml needs contiguous rows of float32")
        if out.nbytes != nbytes or not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError(f"{nbytes} contiguous bytes are needed, not {out.nbytes}")
        self._library.ggml_quantize_chunk(
            self._type, rows.ctypes.data, out.ctypes.data, 0, *rows.shape, None
        )


def unpack(tensor_type: TensorType, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Unpack the blocks of a packed type into `out`, both flat and contiguous.

    Raises:
        QuantizeError: ggml is not installed, or has no such function.
    """
    if packed.nbytes != byte_size((out.size,), tensor_type) or not packed.flags.c_contiguous:
        raise ValueError(f"{packed.nbytes} bytes are not {out.size} weights")
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError("ggml needs contiguous float32")
    _unpacker(tensor_type)(packed.ctypes.data, out.ctypes.data, out.size)


def unpacker_address(tensor_type: TensorType) -> int:
    """Where the C function that unpacks a type lies; raises as unpack()."""
    return ctypes.cast(_unpacker(tensor_type), ctypes.c_void_p).value or 0


@cache
def _unpacker(tensor_type: TensorType) -> Any:
    family, _, rest = tensor_type.name.partition("_")
    name = f"dequantize_row_{family.lower()}_{rest}"
    try:
        function = getattr(_library(), name)
    except AttributeError as error:
        raise QuantizeError(
            Problem.NO_ENGINE, "ggml's quantiser is of another version", why=f"it has no {name}"
        ) from error
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function.restype = None
    return function
