"""Puts pictures together: beside each other, or one into another behind a mask.

As ComfyUI's ImageStitch and ImageCompositeMasked do it (comfy_extras: nodes_images, nodes_mask).
Pictures are float32, shape (batch, height, width, channels); masks (batch, height, width).
"""

import numpy as np

from host.images import Pixels
from host.picture_files import Mask
from host.resizing import resized

COLOURS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}
SIDEWAYS = ("left", "right")


def stitched(
    first: Pixels, second: Pixels, direction: str, gap: int, colour: str, *, match: bool
) -> Pixels:
    """Return both in one picture, the second in this direction of the first.

    Args:
        first: gives the height, or the width if the direction is up or down.
        second: the shorter batch of the two repeats its last picture.
        direction: ``right``, ``down``, ``left`` or ``up``.
        gap: pixels between them; an odd number is one more.
        colour: of the gap, and of what fills up a smaller picture; a name of :data:`COLOURS`.
        match: bring the second to the first's height or width, else fill up around the smaller.
    """
    first, second = _equally_many(first, second)
    across = 1 if direction in SIDEWAYS else 2
    if match:
        second = _matched(first, second, across)
    first, second = _equal_channels(first, second)
    # ComfyUI fills up with a gap's grey value, and with black where the gap is coloured.
    grey = COLOURS[colour][0] if len(set(COLOURS[colour])) == 1 else 0.0
    size = max(first.shape[across], second.shape[across])
    parts = [_filled_up(one, across, size, grey) for one in (first, second)]
    if gap:
        parts.insert(1, _gap(first, across, size, gap + gap % 2, colour))
    ordered = parts[::-1] if direction in ("left", "up") else parts
    return np.concatenate(ordered, axis=3 - across)


def _equally_many(first: Pixels, second: Pixels) -> tuple[Pixels, Pixels]:
    count = max(len(first), len(second))
    more = [np.concatenate([one, *[one[-1:]] * (count - len(one))]) for one in (first, second)]
    return more[0], more[1]


def _matched(first: Pixels, second: Pixels, across: int) -> Pixels:
    height, width = second.shape[1:3]
    if across == 1:
        rows = first.shape[1]
        return resized(second, int(rows * (width / height)), rows, "lanczos")
    columns = first.shape[2]
    return resized(second, columns, int(columns / (width / height)), "lanczos")


def _equal_channels(first: Pixels, second: Pixels) -> tuple[Pixels, Pixels]:
    """Pictures without alpha become opaque beside one that has it."""
    most = max(first.shape[3], second.shape[3])
    return _opaque(first, most), _opaque(second, most)


def _opaque(pixels: Pixels, channels: int) -> Pixels:
    missing = channels - pixels.shape[3]
    return np.pad(pixels, [(0, 0)] * 3 + [(0, missing)], constant_values=1.0)


def _filled_up(pixels: Pixels, axis: int, size: int, value: float) -> Pixels:
    missing = size - pixels.shape[axis]
    edges = [(0, 0)] * 4
    edges[axis] = (missing // 2, missing - missing // 2)
    return np.pad(pixels, edges, constant_values=value)


def _gap(model: Pixels, across: int, size: int, gap: int, colour: str) -> Pixels:
    shape = [len(model), gap, gap, model.shape[3]]
    shape[across] = size
    filled = np.ones(shape, np.float32)
    filled[..., :3] = COLOURS[colour][: min(3, shape[3])]
    return filled


def composited(
    below: Pixels, above: Pixels, x: int, y: int, mask: Mask | None = None, *, resize: bool = False
) -> Pixels:
    """Return one picture with another put over it at (x, y), where a mask says so.

    Args:
        below: says how many pictures there will be; the others repeat.
        above: what is put on it; what lies outside is cut off.
        x: its left edge in pixels.
        y: its upper edge.
        mask: 1 shows `above`, 0 `below`; brought to its size. None: 1 everywhere.
        resize: bring `above` to the size of `below` first.
    """
    below, above = _equal_channels(below, above)
    if resize:
        above = resized(above, below.shape[2], below.shape[1], "bilinear")
    above = _repeated(above, len(below))
    height, width = above.shape[1:3]
    shown = np.ones((1, height, width), np.float32) if mask is None else mask
    if shown.shape[1:] != (height, width):
        shown = resized(shown[..., None], width, height, "bilinear")[..., 0]
    rows, columns = max(0, min(height, below.shape[1] - y)), max(0, min(width, below.shape[2] - x))
    part = _repeated(shown, len(below))[:, :rows, :columns, None]
    result = np.array(below)
    place = result[:, y : y + rows, x : x + columns]
    place[:] = part * above[:, :rows, :columns] + (1 - part) * place
    return result


def _repeated(batch: Pixels, count: int) -> Pixels:
    return np.concatenate([batch] * -(-count // len(batch)))[:count]
