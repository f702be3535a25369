"""Pictures for data sets, drawn here: no two alike unless a test wants them so."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from training import recipe
from training.dataset.faces import Box
from training.dataset.measurement import Borders, Measurement
from training.dataset.pixels import Look
from training.recipe import Preset, Recipe

RECIPE: Recipe = recipe.load(Preset.CHARACTER, {"resolution": [64], "bucket_step": 16})
"""Small, so that pictures are quick to draw."""


def scene(number: int, width: int = 96, height: int = 96) -> Image.Image:
    """Draw coloured shapes; other numbers give pictures that no hash takes for the same."""
    draws = np.random.default_rng(number)
    image = Image.new("RGB", (width, height), _colour(draws))
    pencil = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = int(draws.integers(0, width)), int(draws.integers(0, height))
        reach = int(draws.integers(min(width, height) // 12, min(width, height) // 3))
        pencil.rectangle((x - reach, y - reach, x + reach, y + reach), fill=_colour(draws))
    return image


def folder(path: Path, count: int = 9, width: int = 96, height: int = 96) -> Path:
    """Write a sound set: PNGs that differ, each with a caption of its own."""
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene(number, width, height).save(path / f"{number}.png")
        (path / f"{number}.txt").write_text(f"ohwx in place {number}")
    return path


def face(side: int = 400, share: float = 0.5) -> Image.Image:
    """Draw a face that the Haar cascade takes for one, so high of the picture's side."""
    image = Image.new("L", (side, side), 90)
    pencil = ImageDraw.Draw(image)
    reach = side * share / 2
    middle = side / 2

    def oval(x: float, y: float, wide: float, high: float, shade: int) -> None:
        left, top = middle + (x - wide) * reach, middle + (y - high) * reach
        box = (left, top, left + 2 * wide * reach, top + 2 * high * reach)
        pencil.ellipse(box, fill=shade)

    oval(0, 0, 0.85, 1.1, 205)  # skin
    for x in (-0.38, 0.38):
        oval(x, -0.22, 0.27, 0.13, 110)  # the shadow of the eye's socket
        oval(x, -0.2, 0.16, 0.08, 245)
        oval(x, -0.2, 0.08, 0.08, 20)
        oval(x, -0.42, 0.28, 0.05, 60)  # brow
    oval(0, 0.12, 0.1, 0.22, 230)
    oval(0, 0.3, 0.16, 0.06, 130)
    oval(0, 0.6, 0.32, 0.09, 90)
    return image.convert("RGB")


def measurement(
    file: str = "a.png",
    size: tuple[int, int] = (512, 512),
    *,
    sha256: str = "",
    sharpness: float = 100.0,
    likeness: int | None = None,
    borders: tuple[float, float] = (0.0, 0.0),
    faces: tuple[Box, ...] = (),
    **look: object,
) -> Measurement:
    """Return numbers as if a picture had been measured; each file is another picture."""
    told = {
        "format": "PNG",
        "mode": "RGB",
        "turned": False,
        "transparent": False,
        "animated": False,
        "profile": "",
        **look,
    }
    own = abs(hash_of(file))
    return Measurement(
        file=file,
        sha256=sha256 or f"{own:064x}",
        look=Look(*size, **told),  # type: ignore[arg-type] # as Look has them
        sharpness=sharpness,
        likeness=own if likeness is None else likeness,
        borders=Borders(*borders),
        faces=faces,
        thumbnail=b"",
    )


def hash_of(text: str) -> int:
    """Return 64 bits that are far from any other text's."""
    return int(np.random.default_rng(list(text.encode())).integers(0, 2**63))


def _colour(draws: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = draws.integers(0, 256, 3).tolist()
    return red, green, blue


class NoFaces:
    """A detector that sees none."""

    def find(self, _rgb: object) -> tuple[Box, ...]:
        return ()
