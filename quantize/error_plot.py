"""A picture of a model's errors: one dot per packed tensor over the depth of its block.

    +--------------------------------------+-----------------+
    | error in %, one line per kind of     | the worst ten   |
    | layer, over the number of the block  | as bars         |
    +--------------------------------------+-----------------+

Tensors that keep each number by itself are left out of the curves: their error is next to nothing.
Pillow draws it, at twice the size and then halved, which smooths every edge.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from quantize.overrides import is_plain
from quantize.verify import TensorError, overall, worst

Point = tuple[float, float]
Colour = tuple[int, int, int]
Place = Callable[[Point], Point]  # depth and error to a point of the picture

WIDTH, HEIGHT = 1600, 900
_SCALE = 2
_SPREAD = 0.7  # of the way to the next block, over which its dots are spread
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 150, 1060, 760  # the plot's frame
_LIST = 1110  # where the worst ten begin

_INK, _GREY, _PALE, _PAPER = (28, 32, 38), (110, 116, 124), (224, 227, 231), (255, 255, 255)
# Told apart by people who see few colours, too (after Okabe and Ito).
_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167),
    (86, 180, 233), (230, 159, 0), (90, 90, 90), (148, 62, 15),
)  # fmt: skip
_BLOCK = re.compile(r"(double_blocks|single_blocks|enc\.blk)\.([0-9]+)\.(.+)\.weight")


@dataclass(frozen=True, slots=True)
class _Series:
    """One kind of layer: its errors by depth. A hollow one is of the text stream."""

    label: str
    points: tuple[Point, ...]
    colour: Colour
    hollow: bool


def draw(
    path: Path,
    title: str,
    subtitle: str,
    errors: Sequence[TensorError],
    unit: str = "relative RMS error",
) -> None:
    """Write the picture as PNG; `unit` says what the errors are."""
    canvas = _Canvas()
    canvas.text((_LEFT, 28), title, 30)
    canvas.text((_LEFT, 72), subtitle, 18, _GREY)
    series = _series(errors)
    doubles = 1 + max(_depths(errors, "double_blocks"), default=-1)
    _curves(canvas, series, doubles, unit)
    _legend(canvas, series)
    _bars(canvas, worst(errors))
    canvas.save(path)


def summary(errors: Sequence[TensorError]) -> str:
    """The picture's second line."""
    weights = sum(one.weights for one in errors)
    packed = [one for one in errors if not is_plain(one.type)]
    return (
        f"{weights / 1e6:,.0f} million weights compared in {len(errors)} tensors; relative RMS "
        f"error {overall(errors):.2%} over all, {overall(packed):.2%} over the packed ones"
    )


# --- from names to curves -------------------------------------------------------------------------


def _depths(errors: Sequence[TensorError], blocks: str) -> Iterator[int]:
    for one in errors:
        found = _BLOCK.fullmatch(one.name)
        if found and found[1] == blocks:
            yield int(found[2])


def _series(errors: Sequence[TensorError]) -> list[_Series]:
    """The curves. Single blocks follow on the double ones: that is a model's depth."""
    doubles = 1 + max(_depths(errors, "double_blocks"), default=-1)
    kinds: dict[str, list[Point]] = {}
    for one in errors:
        found = _BLOCK.fullmatch(one.name)
        if found and not is_plain(one.type) and math.isfinite(one.error):
            depth = int(found[2]) + (doubles if found[1] == "single_blocks" else 0)
            kinds.setdefault(found[3], []).append((depth, one.error))
    plain = sorted({_stem(kind) for kind in kinds})
    return [
        _Series(
            kind,
            tuple(sorted(kinds[kind])),
            _COLOURS[plain.index(_stem(kind)) % len(_COLOURS)],
            kind.startswith("txt_"),
        )
        for kind in sorted(kinds, key=lambda kind: (_stem(kind), kind))
    ]


def _beside(series: Sequence[_Series]) -> Iterator[tuple[_Series, tuple[Point, ...]]]:
    """Each curve a little to the right of the one before, so that equal errors are all seen."""
    for number, one in enumerate(series):
        shift = _SPREAD * ((number + 0.5) / len(series) - 0.5)
        yield one, tuple((depth + shift, error) for depth, error in one.points)


def _stem(kind: str) -> str:
    """Image and text stream share a colour."""
    return kind.removeprefix("img_").removeprefix("txt_")


# --- the parts of the picture ---------------------------------------------------------------------


def _curves(canvas: "_Canvas", series: Sequence[_Series], doubles: int, unit: str) -> None:
    points = [point for one in series for point in one.points]
    if not points:
        canvas.text((_LEFT, _TOP), "No tensor is packed in blocks.", 20, _GREY)
        return
    deepest = max(depth for depth, _ in points)
    step = _nice_step(max(error for _, error in points))
    top = step * math.ceil(max(error for _, error in points) / step)

    def place(point: Point) -> Point:
        x = _LEFT + (point[0] + 0.5) / (deepest + 1) * (_RIGHT - _LEFT)
        return x, _BOTTOM - point[1] / top * (_BOTTOM - _TOP)

    canvas.text((_LEFT, _TOP - 22), unit, 16, _GREY, "lm")
    _axes(canvas, place, (deepest, top, step), doubles)
    for one, shifted in _beside(series):
        canvas.line([place(point) for point in shifted], one.colour, 1.5)
    for one, shifted in _beside(series):
        for point in shifted:
            canvas.dot(place(point), one.colour, one.hollow)


def _nice_step(largest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides the axis into 4 to 10."""
    power = 10.0 ** math.floor(math.log10(max(largest, 1e-6)))
    return next(
        power * factor for factor in (0.1, 0.2, 0.5, 1, 2) if largest / (power * factor) <= 8
    )


def _axes(
    canvas: "_Canvas", place: Place, limits: tuple[float, float, float], doubles: int
) -> None:
    deepest, top, step = limits
    for number in range(round(top / step) + 1):
        y = place((0, number * step))[1]
        canvas.line([(_LEFT, y), (_RIGHT, y)], _PALE, 1)
        canvas.text((_LEFT - 12, y), f"{100 * number * step:.3g} %", 16, _GREY, "rm")
    for depth in range(0, round(deepest) + 1, 5 if deepest > 10 else 1):
        canvas.text((place((depth, 0))[0], _BOTTOM + 10), str(depth), 16, _GREY, "mt")
    if 0 < doubles <= deepest:
        x = place((doubles - 0.5, 0))[0]
        canvas.line([(x, _TOP), (x, _BOTTOM)], _GREY, 1)
        canvas.text((x - 10, _TOP + 4), "double blocks", 16, _GREY, "rt")
        canvas.text((x + 10, _TOP + 4), "single blocks", 16, _GREY, "lt")
    canvas.line([(_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], _INK, 1.5)
    canvas.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 36), "block, from the first", 16, _GREY, "mt")


def _legend(canvas: "_Canvas", series: Sequence[_Series]) -> None:
    for number, one in enumerate(series):
        column, row = number % 5, number // 5
        x, y = _LEFT + 10 + column * 195, _BOTTOM + 76 + row * 26
        canvas.dot((x, y), one.colour, one.hollow)
        canvas.text((x + 14, y), one.label, 16, _INK, "lm")


def _bars(canvas: "_Canvas", errors: Sequence[TensorError]) -> None:
    canvas.text((_LIST, _TOP - 22), "The worst ten", 20, _INK, "lm")
    largest = max((one.error for one in errors if math.isfinite(one.error)), default=1.0) or 1.0
    for number, one in enumerate(errors):
        y = _TOP + 16 + number * 61
        share = min(1.0, one.error / largest)
        canvas.box((_LIST, y + 12, _LIST + 330 * share, y + 28), _COLOURS[0])
        canvas.text((_LIST, y), one.name, 15, _INK, "lm")
        canvas.text((_LIST + 342, y + 20), f"{one.error:.2%}", 15, _INK, "lm")
        canvas.text((WIDTH - 40, y + 20), one.type.name, 15, _GREY, "rm")


class _Canvas:
    """Pillow, in units of the finished picture."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self, at: Point, text: str, size: int, colour: Colour = _INK, anchor: str = "lt"
    ) -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text(self._at(at), text, colour, font, anchor=anchor)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        if len(points) > 1:
            self._draw.line([self._at(p) for p in points], colour, round(width * _SCALE))

    def dot(self, at: Point, colour: Colour, hollow: bool) -> None:
        self._draw.circle(
            self._at(at), 5 * _SCALE, _PAPER if hollow else colour, colour, width=2 * _SCALE
        )

    def box(self, corners: tuple[float, float, float, float], colour: Colour) -> None:
        self._draw.rectangle([_SCALE * number for number in corners], colour)

    def save(self, path: Path) -> None:
        small = self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        small.save(path, "PNG", optimize=True)

    @staticmethod
    def _at(point: Point) -> Point:
        return point[0] * _SCALE, point[1] * _SCALE
