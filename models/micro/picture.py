"""Draws the scenes of the grammar: the micro Flux's training pictures, and what the judge expects.

Shapes are outlines around the origin with y downwards, in units of the radius. They are drawn four
times too large and averaged, so that edges are smooth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from models.micro.grammar import Scene, Shape, Size, Style
from models.micro.palette import BACKGROUND, DARK, OBJECT

Mask = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Points = tuple[tuple[float, float], ...]

SIDE = 128
"""Width and height at which pictures are drawn, and read."""

RADIUS: Mapping[Size, tuple[float, float]] = {Size.LARGE: (0.37, 0.4), Size.SMALL: (0.25, 0.27)}
"""From least to most, as a share of the side."""

WANDER: Mapping[Size, float] = {Size.LARGE: 0.03, Size.SMALL: 0.03}
"""How far from the middle an object may be, as a share of the side, in x and in y."""

LINE, BAND = 0.22, 0.34
"""Width of an outline and of a stripe, as shares of the radius."""

_FINE = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is: its middle and radius, in pixels."""

    x: float
    y: float
    radius: float


def draw(scene: Scene, stream: np.random.Generator) -> Pixels:
    """A picture of a scene, (SIDE, SIDE, 3); the place of the object is drawn at random."""
    place = somewhere(scene.size, stream)
    shown = polygon(OUTLINES[scene.shape], place, line=scene.style is Style.OUTLINED)
    paint = np.asarray(OBJECT[scene.colour], "f4")
    if scene.style is Style.STRIPED:
        paint = paint * (DARK + (1 - DARK) * bands(place))[..., None]
    return blend(shown, paint, np.asarray(BACKGROUND[scene.background], "f4"))


def reduced(pixels: Pixels, side: int) -> Pixels:
    """A picture made smaller, by averaging."""
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def somewhere(size: Size, stream: np.random.Generator) -> Place:
    """A place for an object of this size."""
    x, y = SIDE * (0.5 + WANDER[size] * stream.uniform(-1, 1, 2))
    return Place(x, y, SIDE * stream.uniform(*RADIUS[size]))


def blend(shown: Mask, paint: Mask, background: Mask) -> Pixels:
    """Paint where the mask is 1, background where it is 0; both RGB or (SIDE, SIDE, 3)."""
    share = shown[..., None]
    return np.rint(share * paint + (1 - share) * background).astype(np.uint8)


def polygon(points: Points, place: Place, *, line: bool = False) -> Mask:
    """How much of every pixel an outline covers, or the line along it: (SIDE, SIDE)."""
    corners = [
        (_FINE * (place.x + place.radius * x), _FINE * (place.y + place.radius * y))
        for x, y in points
    ]
    whole = _canvas()
    ImageDraw.Draw(whole).polygon(corners, fill=255)
    if line:
        whole = ImageChops.multiply(whole, _line(corners, place))
    covered = np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    return covered / np.float32(255)


def bands(place: Place) -> Mask:
    """1 on the bright level stripes, 0 on the dark ones: (SIDE, SIDE); the middle one is bright."""
    height = place.radius * BAND
    rows = (np.arange(SIDE * _FINE) + 0.5) / _FINE - place.y
    bright = np.round(rows / height) % 2 == 0
    share = bright.reshape(SIDE, _FINE).mean(axis=1).astype(np.float32)
    return np.repeat(share[:, None], SIDE, axis=1)


def _canvas() -> Image.Image:
    return Image.new("L", (SIDE * _FINE, SIDE * _FINE))


def _line(corners: list[tuple[float, float]], place: Place) -> Image.Image:
    """A line along the outline, twice as wide: the half outside is cut off by the object."""
    drawn = _canvas()
    width = round(2 * LINE * place.radius * _FINE)
    ImageDraw.Draw(drawn).line([*corners, *corners[:2]], fill=255, width=width, joint="curve")
    return drawn


def _star(points: int, inner: float) -> Points:
    radii = (1.15, 1.15 * inner) * points
    return _around(radii)


def _around(radii: tuple[float, ...]) -> Points:
    """Corners at these distances, clockwise from the top."""
    step = 2 * pi / len(radii)
    return tuple((r * sin(step * n), -r * cos(step * n)) for n, r in enumerate(radii))


def _box(half: float) -> Points:
    return ((-half, -half), (half, -half), (half, half), (-half, half))


def _cross(arm: float, long: float) -> Points:
    quarter = ((arm, -long), (arm, -arm), (long, -arm), (long, arm), (arm, arm), (arm, long))
    other = tuple((-x, -y) for x, y in quarter)
    return quarter + other


def _heart() -> Points:
    """The well-known curve x = 16 sin^3 t, its lowest and highest point equally far away."""
    steps = (2 * pi * n / 64 for n in range(64))
    return tuple(
        (
            16 * sin(t) ** 3 / 16.5,
            -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) + 2.5) / 16.5,
        )
        for t in steps
    )


OUTLINES: Mapping[Shape, Points] = {
    Shape.CIRCLE: _around((0.95,) * 64),
    Shape.SQUARE: _box(0.85),
    Shape.TRIANGLE: ((0.0, -0.95), (1.05, 0.85), (-1.05, 0.85)),
    Shape.DIAMOND: ((0.0, -1.1), (0.85, 0.0), (0.0, 1.1), (-0.85, 0.0)),
    Shape.STAR: _star(5, 0.42),
    Shape.CROSS: _cross(0.33, 1.0),
    Shape.HEART: _heart(),
}


def proportions(points: Points) -> tuple[float, float, float]:
    """Area and centre of mass of a polygon (shoelace formula)."""
    area = x_moment = y_moment = 0.0
    for (x0, y0), (x1, y1) in zip(points, (*points[1:], points[0]), strict=True):
        turn = x0 * y1 - x1 * y0
        area += turn / 2
        x_moment += (x0 + x1) * turn / 6
        y_moment += (y0 + y1) * turn / 6
    return abs(area), x_moment / area, y_moment / area
