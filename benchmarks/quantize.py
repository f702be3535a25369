"""The whole conversion, against the same pipeline on ggml's kernel and against the machine.

    python -m benchmarks.quantize [--double N --single N] [--folder DIR] [--rounds N] [--plot PNG]

Makes a full-width BF16 Flux of N double and N single blocks (19 and 38 are the real one: 780
tensors, 23.8 GB; the folder needs 1.3 times that), converts it to Q4_K_S with the own kernels and
with ggml's, each in a process of its own with a cold page cache, and measures what this machine
could do at best in the same run: reading the source and writing the target sequentially. Prints
medians and ratios. Everything made is deleted at the end.
"""

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models import flux
from models.tensor_types import FileType
from quantize import convert, kernel

PIECE = 1 << 24  # bytes per read and write of the floor's loops
POOL = 1 << 24  # random weights that all tensors are cut from


@dataclass(frozen=True, slots=True)
class Run:
    """One conversion: wall and CPU seconds, and the largest resident size in bytes."""

    wall: float
    cpu: float
    rss: int


def main() -> None:
    """Measure and print; or, as a child, convert once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize")
    parser.add_argument("--double", type=int, default=1)
    parser.add_argument("--single", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ggml", action="store_true", help="leave out the slow comparison")
    parser.add_argument("--plot", type=Path, default=None, help="write a bar chart there")
    parser.add_argument("--child", nargs=3, metavar=("KERNEL", "SRC", "DST"), default=None)
    chosen = parser.parse_args()
    if chosen.child:
        convert_here(chosen.child[0], Path(chosen.child[1]), Path(chosen.child[2]))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        shape = replace(flux.FLUX_DEV, double_blocks=chosen.double, single_blocks=chosen.single)
        measure(Path(folder), shape, chosen.rounds, not chosen.no_ggml, chosen.plot)


def measure(
    folder: Path, shape: flux.FluxShape, rounds: int, with_ggml: bool, plot: Path | None
) -> None:
    """Make the source, run everything, print the table."""
    source, target = folder / "source.safetensors", folder / "target.gguf"
    need_room(folder, shape)
    weights = write_source(source, shape)
    size = source.stat().st_size
    blocks = f"{shape.double_blocks}+{shape.single_blocks} blocks"
    print(f"source   {size / 1e9:6.2f} GB, {weights / 1e9:.2f} G weights, {blocks}", flush=True)
    own, ggml, floors = [], [], []
    for number in range(rounds):
        own.append(run_child("own", source, target))
        out = target.stat().st_size
        floors.append(disk_floor(source, folder / "floor", out))
        if with_ggml and (number == 0 or size < 4e9):  # the real size takes it many minutes
            ggml.append(run_child("ggml", source, target))
    print(f"target   {out / 1e9:6.2f} GB, {1 - out / size:.1%} smaller")
    report(own, ggml, floors, weights, plot)


def report(
    own: list[Run], ggml: list[Run], floors: list[float], weights: int, plot: Path | None
) -> None:
    """Print medians and ratios; draw them if asked to."""
    mine = median(own)
    floor, cpu_floor = statistics.median(floors), mine.cpu / (os.cpu_count() or 1)
    show("own", mine, weights)
    bars = {"own kernels": mine.wall, "disk floor": floor}
    if ggml:
        theirs = median(ggml)
        show("ggml", theirs, weights)
        bars["ggml's kernel"] = theirs.wall
        print(f"ratios   {theirs.cpu / mine.cpu:.1f}x less CPU than with ggml's kernel,")
        print(f"         {theirs.wall / mine.wall:.1f}x less time")
    print(f"floor    {floor:7.1f} s disk (read, then write + fsync), {cpu_floor:.1f} s CPU / cores")
    print(f"         own is at {mine.wall / max(floor, cpu_floor):.2f}x the larger of the two")
    if plot:
        draw(plot, bars)


def show(name: str, run: Run, weights: int) -> None:
    """Print one line of the table."""
    rate = weights / run.wall / 1e6
    memory = f"{run.rss / 1e6:6.0f} MB"
    print(f"{name:8} {run.wall:7.1f} s wall {run.cpu:7.1f} s CPU {memory} {rate:6.0f} Mw/s")


def median(runs: list[Run]) -> Run:
    """Take each figure's median; of the memory the largest."""
    return Run(
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        max(run.rss for run in runs),
    )


def need_room(folder: Path, shape: flux.FluxShape) -> None:
    """Stop before the disk is full."""
    weights = sum(math.prod(dims) for dims in flux.tensor_shapes(shape).values())
    need, free = int(weights * 2 * 1.65), shutil.disk_usage(folder).free
    if need > free:
        raise SystemExit(f"{folder} has {free / 1e9:.0f} GB free, {need / 1e9:.0f} GB are needed")


def write_source(path: Path, shape: flux.FluxShape) -> int:
    """Write a BF16 Flux of Gaussian weights, without holding it in memory; return its weights."""
    header: dict[str, object] = {}
    place = 0
    shapes = flux.tensor_shapes(shape)
    for name, dims in shapes.items():
        nbytes = 2 * math.prod(dims)
        header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [place, place + nbytes]}
        place += nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for piece in random_pieces(shapes):
            file.write(piece)
        os.fsync(file.fileno())
    return place // 2


def random_pieces(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[memoryview]:
    """Yield each tensor's bytes in pieces, cut from one pool at random places."""
    rng = np.random.default_rng(0)
    pool = (rng.standard_normal(POOL, dtype=np.float32) * 0.02).view(np.uint32) >> 16
    bits = pool.astype(np.uint16)
    for dims in shapes.values():
        left = math.prod(dims)
        while left:
            start = int(rng.integers(POOL // 2))
            piece = bits[start : start + min(left, POOL // 2)]
            left -= len(piece)
            yield piece.data.cast("B")


def run_child(which: str, source: Path, target: Path) -> Run:
    """Convert in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.quantize", "--child", which]
    return run_measured([*command, str(source), str(target)], source, target)


def run_measured(command: list[str], source: Path, target: Path) -> Run:
    """Run a process that ends by print_peak(), with the source out of the page cache."""
    target.unlink(missing_ok=True)
    forget(source)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, int(told.stdout.split()[-1]))


def convert_here(which: str, source: Path, target: Path) -> None:
    """Convert with the own kernels or with ggml's; print the peak of memory."""
    if which == "ggml":
        kernel.find = kernel.by_ggml
    plan = convert.plan(source, target, FileType.Q4_K_S)
    for _ in convert.run(plan, workers=os.cpu_count() or 1):
        pass
    print_peak()


def print_peak() -> None:
    """Print the most memory that this process ever had."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(int(kilobytes) * 1024)


def disk_floor(source: Path, scratch: Path, size: int) -> float:
    """Read the source and write ``size`` bytes, cold and synced; return the seconds of both."""
    forget(source)
    buffer = memoryview(bytearray(PIECE))
    started = time.monotonic()
    with source.open("rb", buffering=0) as file:
        place = 0
        while count := file.readinto(buffer):
            os.posix_fadvise(file.fileno(), place, count, os.POSIX_FADV_DONTNEED)
            place += count
    with scratch.open("wb", buffering=0) as file:
        for _ in range(size // PIECE + 1):
            file.write(buffer)
        os.fsync(file.fileno())
    taken = time.monotonic() - started
    scratch.unlink()
    return taken


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def draw(path: Path, bars: Mapping[str, float]) -> None:
    """Draw seconds as horizontal bars."""
    width, row, left = 720, 44, 150
    image = Image.new("RGB", (width, row * len(bars) + 20), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    scale = (width - left - 90) / max(bars.values())
    for number, (name, seconds) in enumerate(bars.items()):
        top = 10 + number * row
        pen.text((10, top + 8), name, fill="black", font=font)
        pen.rectangle((left, top + 4, left + seconds * scale, top + row - 8), fill="#3b6ea5")
        pen.text((left + seconds * scale + 8, top + 8), f"{seconds:.1f} s", fill="black", font=font)
    image.save(path)


if __name__ == "__main__":
    main()
