"""How long it takes to check a data set, and how much memory.

    python -m benchmarks.dataset [--pictures N] [--megapixels N] [--folder DIR] [--prepare]

Draws N pictures of shapes and noise as JPEGs of 12 megapixels, with captions, then checks them in
a process of its own, as ``dataset validate`` does, and prints seconds, seconds a picture and the
largest resident size. ``--prepare`` also writes the cleaned copy. Everything made is deleted.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def main() -> None:
    """Draw, check and print; or, as a child, check once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made")
    parser.add_argument("--prepare", action="store_true", help="also write the copy")
    parser.add_argument("--child", nargs="+", default=None, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        check_here(*map(Path, chosen.child))
        return
    work = Path(tempfile.mkdtemp(prefix="dataset-", dir=chosen.folder))
    try:
        nbytes = draw(work / "pictures", chosen.pictures, chosen.megapixels)
        print(f"{chosen.pictures} JPEGs of {chosen.megapixels:g} MP, {nbytes / 1e6:,.0f} MB")
        words = [str(work / "pictures"), *([str(work / "copy")] if chosen.prepare else [])]
        own = [sys.executable, "-m", "benchmarks.dataset", "--child", *words]
        subprocess.run(own, check=True)
    finally:
        shutil.rmtree(work)


def check_here(folder: Path, target: Path | None = None) -> None:
    """Check a folder and print what it took."""
    begun = time.perf_counter()
    from training import recipe
    from training.dataset import check, page, preparation
    from training.recipe import Preset

    chosen = recipe.load(Preset.CHARACTER, {})
    report = check.check(folder, "ohwx", chosen, Preset.CHARACTER)
    written = len(page.write(report))
    _print("checked", begun, len(report.measured))
    print(f"page {written / 1e6:.1f} MB, {len(report.findings)} findings, {os.cpu_count()} cores")
    if target:
        begun = time.perf_counter()
        preparation.prepare(report, target)
        _print("copied", begun, len(report.measured))


def _print(what: str, begun: float, count: int) -> None:
    seconds = time.perf_counter() - begun
    # Not getrusage's: that begins with the largest size of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    print(f"{what} in {seconds:.1f} s ({seconds / count:.3f} s a picture), peak {peak:,.0f} MiB")


def draw(folder: Path, count: int, megapixels: float) -> int:
    """Draw the pictures; returns their bytes."""
    folder.mkdir()
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3)).astype(np.float32)

    def one(index: int) -> int:
        path = folder / f"{index:03}.jpg"
        picture(index, width, height, noise).save(path, quality=90)
        path.with_suffix(".txt").write_text(f"ohwx, scene number {index} with some shapes in it")
        return path.stat().st_size

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(one, range(count)))


def picture(index: int, width: int, height: int, noise: np.ndarray) -> Image.Image:  # type: ignore[type-arg] # of any shape
    """Draw shapes under a camera's noise."""
    draws = np.random.default_rng(index)
    image = Image.new("RGB", (width // 4, height // 4), tuple(draws.integers(0, 256, 3).tolist()))
    pencil = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = draws.integers(0, image.width), draws.integers(0, image.height)
        reach = draws.integers(10, image.width // 6)
        colour = tuple(draws.integers(0, 256, 3).tolist())
        pencil.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    large = image.filter(ImageFilter.GaussianBlur(1)).resize((width, height))
    grainy = np.asarray(large) + np.roll(noise, index * 97, axis=0)
    return Image.fromarray(grainy.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
