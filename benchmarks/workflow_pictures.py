"""Draws the pictures of docs/workflows.md: each workflow that comes with Vulcan, by the micro Flux.

    python -m benchmarks.workflow_pictures [--out docs/workflows]

What a workflow starts from is put on its left. Pictures are enlarged so that pixels can be seen.
"""

import argparse
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from models import store
from models.micro import micro_set
from models.micro.picture import Pixels
from tests.studio import studio
from tests.workflow_cases import CASES, png

HEIGHT = 256  # of a picture in the docs
GAP = 16


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflow_pictures")
    parser.add_argument("--out", type=Path, default=Path("docs/workflows"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        studio(micro_set.SHIPPED, Path(folder)) as drawing,
    ):
        for name, case in CASES.items():
            shown = [opened(case.image)] if case.image else []
            row = side_by_side([*shown, *drawing.render(case.request, case.image)])
            store.atomic_write(out / f"{name}.png", png(row))
            print(f"{name}: {row.shape[1]} x {row.shape[0]}", flush=True)


def opened(image: bytes) -> Pixels:
    """A file's pixels; what is transparent is drawn as a chessboard's grey."""
    with Image.open(BytesIO(image)) as picture:
        shown = picture.convert("RGBA")
    ground = Image.new("RGBA", shown.size, "#999999")
    return np.asarray(Image.alpha_composite(ground, shown).convert("RGB"))


def side_by_side(pictures: Sequence[Pixels]) -> Pixels:
    """All in a row, equally high."""
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    parts = [part for one in pictures for part in (enlarged(one), gap)]
    return np.concatenate(parts[:-1], axis=1)


def enlarged(pixels: Pixels) -> Pixels:
    """HEIGHT rows of it."""
    height, width = pixels.shape[:2]
    size = (width * HEIGHT // height, HEIGHT)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST))


if __name__ == "__main__":
    main()
