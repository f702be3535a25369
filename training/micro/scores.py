"""How a model is doing while it is trained: pictures of held-out scenes, read by the judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from models.micro import grammar, judge
from models.micro.grammar import Scene, Size, Style
from models.micro.picture import Pixels

COUNT = 96
_ACROSS = 16


def watched() -> list[Scene]:
    """Held-out scenes to look at, the same at all times: 48 large filled ones, 48 of all kinds."""
    held_out = [scene for scene in grammar.scenes() if scene.held_out]
    order = np.random.default_rng(5).permutation(len(held_out))
    mixed = [held_out[place] for place in order]
    plain = [one for one in mixed if (one.size, one.style) == (Size.LARGE, Style.FILLED)]
    return [*plain[: COUNT // 2], *mixed[: COUNT // 2]]


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of the watched scenes that are right, 0 to 1.

    Attributes:
        plain: of the large filled ones, shape, colour and background.
        mixed: of those of all kinds.
        exact: of those of all kinds, with size and style.
    """

    plain: float
    mixed: float
    exact: float


def score(scenes: Sequence[Scene], pictures: Sequence[Pixels]) -> Score:
    """Read the pictures of :func:`watched`."""
    read = [judge.read(one) for one in pictures]
    right = [one.shows(scene) for one, scene in zip(read, scenes, strict=True)]
    exact = [one.shows_exactly(scene) for one, scene in zip(read, scenes, strict=True)]
    half = len(scenes) // 2
    return Score(
        float(np.mean(right[:half])), float(np.mean(right[half:])), float(np.mean(exact[half:]))
    )


def sheet(pictures: Sequence[Pixels]) -> Image.Image:
    """All pictures on one."""
    rows = [
        np.concatenate(pictures[first : first + _ACROSS], axis=1)
        for first in range(0, len(pictures), _ACROSS)
    ]
    return Image.fromarray(np.concatenate(rows, axis=0))
