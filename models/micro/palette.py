"""The colours of the micro Flux's pictures, and which of them a colour is."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from models.micro.grammar import Background, Colour

Rgb = tuple[int, int, int]
Name = TypeVar("Name", Colour, Background)

OBJECT: Mapping[Colour, Rgb] = {
    Colour.RED: (220, 30, 40),
    Colour.ORANGE: (255, 140, 0),
    Colour.YELLOW: (250, 230, 40),
    Colour.GREEN: (30, 150, 60),
    Colour.BLUE: (40, 80, 220),
    Colour.PURPLE: (130, 40, 170),
    Colour.PINK: (255, 150, 200),
    Colour.WHITE: (250, 250, 250),
}
BACKGROUND: Mapping[Background, Rgb] = {
    Background.BLACK: (15, 15, 15),
    Background.GRAY: (95, 95, 95),
    Background.WHITE: (250, 250, 250),
    Background.BROWN: (80, 45, 20),
    Background.YELLOW: (250, 230, 40),
    Background.GREEN: (30, 150, 60),
    Background.BLUE: (40, 80, 220),
    Background.PINK: (255, 150, 200),
}
DARK = 0.6
"""The darker stripes of an object: its colour times this."""

FARTHEST = 70.0
"""How far a colour may be from the one it is taken for, in 8-bit RGB."""

NEARER = 1.5
"""How many times as far the next colour must be: some are less than FARTHEST apart."""


def nearest(rgb: ArrayLike, names: Mapping[Name, Rgb]) -> Name | None:
    """Return the name of the nearest colour; none if even that is far, or another is as near."""
    distances = {name: distance(rgb, own) for name, own in names.items()}
    best, second = sorted(distances, key=lambda name: distances[name])[:2]
    clear = NEARER * distances[best] <= distances[second]
    return best if clear and distances[best] <= FARTHEST else None


def distance(one: ArrayLike, other: ArrayLike) -> float:
    """Euclidean distance in RGB."""
    return float(np.linalg.norm(np.asarray(one, float) - np.asarray(other, float)))
