"""The loss over the updates, drawn: every report as a dot, and what they come to as a line.

A flow-matching loss jumps by the level of noise that was drawn, so single values say little; the
line is a mean that forgets slowly.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training import png_file
from training.progress import Event, Happened

WIDTH, HEIGHT = 960, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 50, 930, 430
_INK, _GREY, _PALE, _LINE = (28, 32, 38), (110, 116, 124), (200, 212, 226), (0, 114, 178)
_FORGETS = 0.1

Point = tuple[float, float]


def points(events: Iterable[Event]) -> list[Point]:
    """Return (update, loss) of the last process that made each update."""
    found: dict[int, float] = {}
    for event in events:
        if event.event is Happened.STEP and event.loss:
            found = {step: loss for step, loss in found.items() if step < event.step}
            found[event.step] = event.loss
    return sorted(found.items())


def draw(path: Path, title: str, losses: Sequence[Point]) -> None:
    """Write the chart as PNG; with fewer than two points it says so.

    Raises:
        OSError: the disk refuses.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    pen.text((_LEFT, 14), title, _INK, ImageFont.load_default(20))
    if len(losses) < 2:
        pen.text((_LEFT, _TOP), "too few updates to draw", _GREY, ImageFont.load_default(16))
    else:
        _plot(pen, losses)
    png_file.write(path, image)


def _plot(pen: ImageDraw.ImageDraw, losses: Sequence[Point]) -> None:
    most = max(loss for _, loss in losses) * 1.05 or 1.0
    first, last = losses[0][0], losses[-1][0]

    def place(point: Point) -> Point:
        across = (point[0] - first) / max(1, last - first)
        return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - point[1] / most * (_BOTTOM - _TOP)

    font = ImageFont.load_default(14)
    for part in range(5):
        value = most * part / 4
        y = place((first, value))[1]
        pen.line([(_LEFT, y), (_RIGHT, y)], (232, 235, 239))
        pen.text((_LEFT - 10, y), f"{value:.3f}", _GREY, font, anchor="rm")
    for step in {int(first), int((first + last) / 2), int(last)}:
        pen.text((place((step, 0))[0], _BOTTOM + 8), f"{step:,}", _GREY, font, anchor="ma")
    for x, y in map(place, losses):
        pen.ellipse([x - 2, y - 2, x + 2, y + 2], _PALE)
    pen.line([place(point) for point in smoothed(losses)], _LINE, 3, joint="curve")


def smoothed(losses: Sequence[Point]) -> list[Point]:
    """Return the same updates with a mean that forgets, free of its slow beginning."""
    mean, weight, result = 0.0, 0.0, []
    for step, loss in losses:
        mean = (1 - _FORGETS) * mean + _FORGETS * loss
        weight = (1 - _FORGETS) * weight + _FORGETS
        result.append((step, mean / weight))
    return result
