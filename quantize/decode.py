"""From a source's bytes to float32, and the look for weights that no format can hold.

FP8 has two forms. A number is sign | exponent | fraction, and both are read by a table of all 256:

    E4M3 (e4m3fn)   1 4 3 bits, bias 7; no infinity, NaN is 0x7f and 0xff, the largest 448
    E5M2            1 5 2 bits, bias 15; the upper half of an F16

Pure array functions on buffers that the caller owns; nothing is allocated per weight.
"""

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Raw: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Halves: TypeAlias = NDArray[np.float16]
Flags: TypeAlias = NDArray[np.bool_]

DTYPES = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # what decode() can read


def _e4m3() -> Floats:
    code = np.arange(256)
    exponent, fraction = code >> 3 & 15, (code & 7) / 8
    size = np.where(exponent, (1 + fraction) * 2.0 ** (exponent - 7), fraction * 2.0**-6)
    size[(code & 127) == 127] = np.nan
    return np.where(code & 128, -size, size).astype(np.float32)


def _e5m2() -> Floats:
    return (np.arange(256, dtype=np.uint16) << 8).view(np.float16).astype(np.float32)


FP8_TABLES = {"F8_E4M3": _e4m3(), "F8_E5M2": _e5m2()}


@cache
def _halves() -> Floats:
    """All 65,536 of F16's numbers; looked up, they come twice as fast as by numpy's conversion."""
    return np.arange(1 << 16, dtype="<u2").view("<f2").astype(np.float32)


def decode(raw: Raw, dtype: str, out: Floats) -> None:
    """Widen weights of one of DTYPES (little endian) into `out`; exact."""
    match dtype:
        case "F32":
            out[:] = raw.view("<f4")
        case "F16":
            np.take(_halves(), raw.view("<u2"), out=out, mode="clip")
        case "BF16":
            # BF16 is the upper half of float32. In this form, with no temporary, it runs three
            # times as fast as `.astype(np.uint32) << 16`.
            np.left_shift(
                raw.view("<u2"),
                np.uint32(16),
                out=out.view(np.uint32),
                dtype=np.uint32,
                casting="unsafe",
            )
        case "F8_E4M3" | "F8_E5M2":
            # `clip` (no index is out of range) spares numpy a temporary.
            np.take(FP8_TABLES[dtype], raw, out=out, mode="clip")
        case _:
            raise ValueError(f"no rule to read {dtype}")


def round_to_half(weights: Floats, half: Halves) -> None:
    """Round to the nearest F16, ties to even, in place; beyond 65504 it becomes infinite."""
    with np.errstate(over="ignore"):  # looked for, and told with its place, in first_bad()
        half[:] = weights
    weights[:] = half


def first_bad(weights: Floats, flags: Flags) -> int | None:
    """The index of the first NaN or infinite weight, or None."""
    np.isfinite(weights, out=flags)
    return None if flags.all() else int(flags.argmin())
