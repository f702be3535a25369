"""How many blocks of the own kernels differ from ggml's: none may.

    python -m benchmarks.kernel_identity [--blocks N] [--types Q4_K ...] [--widths 16 8 4 0]

Packs every set of weight_sets.py by ggml and by the own kernels, at each width of vectors that
this processor can run (0 is the array machine), from F32, and from F16 and BF16 where the weights
are such. Prints differing blocks per type; exits with 1 if there are any.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import weight_sets
from models.tensor_types import BLOCKS, TensorType
from quantize import kernel
from quantize.ggml_reference import GgmlKernel
from quantize.kernels import jit
from quantize.kernels.bad_weight import TooLargeError
from quantize.kernels.packer import Packer

TARGETS = {
    16: jit.Target("x86-64-v4", "", 16),
    8: jit.Target("haswell", "", 8),
    4: jit.Target("x86-64", "", 4),
    0: None,
}


@dataclass(slots=True)
class Count:
    """Blocks compared, blocks that differ, and the sets in which they do."""

    blocks: int = 0
    different: int = 0
    where: tuple[str, ...] = ()


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel_identity")
    parser.add_argument("--blocks", type=int, default=5000, help="super-blocks per set")
    parser.add_argument("--types", nargs="+", default=[kind.name for kind in kernel.OWN])
    parser.add_argument("--widths", nargs="+", type=int, default=runnable_widths())
    chosen = parser.parse_args()
    print(f"{len(weight_sets.SETS)} sets of {chosen.blocks} super-blocks")
    failed = False
    for name in chosen.types:
        failed |= compare_type(TensorType[name], chosen.widths, chosen.blocks)
    sys.exit(failed)


def runnable_widths() -> list[int]:
    """The widths that this processor has, and the array machine's."""
    return [width for width in TARGETS if width <= jit.host().width]


def compare_type(kind: TensorType, widths: list[int], blocks: int) -> bool:
    """Compare one type at all widths; say whether anything differed."""
    started = time.monotonic()
    packers = {width: Packer(kernel.OWN[kind], TARGETS[width]) for width in widths}
    counts = {width: Count() for width in widths}
    with ThreadPoolExecutor() as pool:
        for found in pool.map(
            lambda name: compare_set(kind, packers, name, blocks), weight_sets.SETS
        ):
            for width, set_name, source, compared, different in found:
                count = counts[width]
                count.blocks += compared
                count.different += different
                count.where += (f"{set_name} ({source}: {different})",) if different else ()
    for width, count in counts.items():
        place = f"{width} numbers" if width else "numpy"
        print(f"{kind.name:5} {place:10} {count.blocks:9} blocks, {count.different} differ")
        for where in count.where:
            print(f"        {where}")
    print(f"      {time.monotonic() - started:.0f} s", flush=True)
    return any(count.different for count in counts.values())


def compare_set(
    kind: TensorType, packers: dict[int, Packer], name: str, blocks: int
) -> list[tuple[int, str, str, int, int]]:
    """Width, set, source, blocks compared and blocks that differ."""
    rows = weight_sets.weights(name, blocks)
    found = []
    for source, raw, floats in forms(rows):
        theirs = np.empty((floats.size // BLOCKS[kind].size, BLOCKS[kind].nbytes), np.uint8)
        GgmlKernel(kind).blocks(floats, theirs.reshape(-1))
        for width, packer in packers.items():
            mine = np.empty_like(theirs)
            try:
                packer.pack(raw, source, 1, rows.size, mine.reshape(-1))
            except TooLargeError:
                assert infinite_units(kind, theirs), f"{name}: no scale of ggml's is infinite"
            different = int((mine != theirs).any(axis=1).sum())
            found.append((width, name, source, len(mine), different))
    return found


def infinite_units(kind: TensorType, blocks: NDArray[np.uint8]) -> bool:
    """Whether an F16 of ggml's blocks is infinite or NaN."""
    units = kernel.OWN[kind].layout.units
    return bool(((blocks[:, [unit + 1 for unit in units]] & 0x7C) == 0x7C).any())


def forms(
    rows: NDArray[np.float32],
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield the weights as each source holds them: its name, its bytes, what ggml is given."""
    yield "F32", rows.view(np.uint8).reshape(-1), rows
    bf16 = (rows.view(np.uint32) >> 16).astype(np.uint16)
    yield "BF16", bf16.view(np.uint8).reshape(-1), (bf16.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        f16 = rows.astype(np.float16)
    if np.isfinite(f16).all():
        yield "F16", f16.view(np.uint8).reshape(-1), f16.astype(np.float32)
        yield "F32 as F16", rows.view(np.uint8).reshape(-1), f16.astype(np.float32)


if __name__ == "__main__":
    main()
