"""Keeping numpy's BLAS on the thread that calls it.

OpenBLAS wakes a thread for each core even for matrices of 32 x 32, and these then wait for more
work in a loop for some 20 ms. Where our own threads have the cores, that is time taken from them.
numpy has no say in this, so OpenBLAS is asked directly, by the names that numpy's wheels and
distributions give its function. With another BLAS nothing happens.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS start no threads inside the block; this counts for the whole process."""
    get, put = _function("get_num_threads"), _function("set_num_threads")
    before = get() if get and put else 0
    if before:
        put(1)
    try:
        yield
    finally:
        if before:
            put(before)


@cache
def _function(name: str) -> Any:
    """OpenBLAS's function, found among the libraries that numpy itself is linked to; or None."""
    try:
        # Private, but there is no other door.
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined] # see above
    except (AttributeError, OSError):
        return None
    found = (getattr(library, one.format(name), None) for one in _NAMES)
    return next((function for function in found if function is not None), None)
