"""What the own kernels are worth: rates and ratios to ggml, per type, source and vector width.

    python -m benchmarks.kernels [--weights N] [--rounds N] [--types Q4_K ...]

One thread, on Gaussian weights. Rates are of that thread's CPU time, so that another program's load
does not show; ggml is measured between the own kernels' rounds, and gets float32 in memory (the
own kernels read the source's format, ggml cannot). Prints medians, and what compiling took.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernel_identity import TARGETS, runnable_widths
from models.tensor_types import BLOCKS, TensorType
from quantize import kernel
from quantize.ggml_reference import GgmlKernel
from quantize.kernels import jit
from quantize.kernels.packer import Packer

WIDTH = 3072  # of a row; Flux's
NAMES = {16: "AVX-512", 8: "AVX2", 4: "SSE2", 0: "numpy"}
ORDER = ("Q4_K", "Q5_K", "Q2_K", "Q6_K", "Q8_0", "Q3_K")


@dataclass(frozen=True, slots=True)
class Rate:
    """Million weights per CPU second, and how many times ggml's that is."""

    weights: float
    ratio: float
    compiling: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels")
    parser.add_argument("--weights", type=int, default=1 << 21)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--types", nargs="+", default=ORDER)
    parser.add_argument("--sources", nargs="+", default=["F32", "BF16", "F16", "F8_E4M3"])
    chosen = parser.parse_args()
    rows = np.random.default_rng(0).standard_normal((chosen.weights // WIDTH, WIDTH), np.float32)
    print(f"{jit.host().cpu}, one thread, {rows.size / 1e6:.1f} M weights, {chosen.rounds} rounds")
    print("type  vectors  source   Mw/s  x ggml   compiled in")
    for name in chosen.types:
        measure_type(TensorType[name], rows, chosen.sources, chosen.rounds)


def measure_type(
    kind: TensorType, rows: NDArray[np.float32], sources: list[str], rounds: int
) -> None:
    """Print the lines of one type."""
    packed = np.empty(rows.size // BLOCKS[kind].size * BLOCKS[kind].nbytes, np.uint8)
    ggml = GgmlKernel(kind)
    theirs = [seconds(lambda: ggml.quantise(rows, packed)) for _ in range(rounds)]
    print(f"{kind.name:5} ggml     F32    {rows.size / statistics.median(theirs) / 1e6:6.0f}")
    for width in runnable_widths():
        for source in sources if width else sources[:1]:
            rate = measure(kind, width, source, rows, rounds if width else 1)
            compiling = f"{rate.compiling:5.2f} s" if width else ""
            print(
                f"{kind.name:5} {NAMES[width]:8} {source:7}{rate.weights:6.0f} {rate.ratio:6.1f}x"
                f"   {compiling}",
                flush=True,
            )


def measure(
    kind: TensorType, width: int, source: str, rows: NDArray[np.float32], rounds: int
) -> Rate:
    """The rate of one kernel, with ggml's in the same rounds."""
    raw = source_bytes(rows, source)
    packed = np.empty(rows.size // BLOCKS[kind].size * BLOCKS[kind].nbytes, np.uint8)
    packer, ggml = Packer(kernel.OWN[kind], TARGETS[width]), GgmlKernel(kind)
    count, size = rows.shape
    first = seconds(lambda: packer.pack(raw, source, count, size, packed))
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(seconds(lambda: packer.pack(raw, source, count, size, packed)))
        theirs.append(seconds(lambda: ggml.quantise(rows, packed)))
    own, other = statistics.median(mine), statistics.median(theirs)
    return Rate(rows.size / own / 1e6, other / own, first - own)


def source_bytes(rows: NDArray[np.float32], source: str) -> NDArray[np.uint8]:
    """The weights in a source's format; as FP8, any bytes that are numbers."""
    if source == "F16":
        return rows.astype(np.float16).view(np.uint8).reshape(-1)
    if source == "BF16":
        return (rows.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1)
    if source.startswith("F8"):
        return np.random.default_rng(0).integers(0, 0x70, rows.size, dtype=np.uint8)
    return rows.view(np.uint8).reshape(-1)


def seconds(work: Callable[[], None]) -> float:
    """CPU seconds of this thread."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


if __name__ == "__main__":
    main()
