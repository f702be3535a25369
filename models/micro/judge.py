"""Reads shape, colour, background, size and style from a picture's pixels. Nothing here is learned.

The background is what the border shows. What differs from it is the object: its silhouette (holes
filled) is laid over every shape of the grammar, drawn with the same area and centre of mass. A
reading may be missing: a blob is no shape, a blend no colour, and of two objects neither is read,
nor is one that is smeared or that the frame cuts off. The judge is strict where it is unsure, so it
errs against the model.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.micro import palette
from models.micro.grammar import Background, Colour, Scene, Shape, Size, Style
from models.micro.picture import OUTLINES, SIDE, Pixels, Place, Points, polygon, proportions

Bits = NDArray[np.bool_]

BORDER = 4
"""Pixels of the frame that is taken for background."""

EVEN = 0.85
"""Share of the frame that must have the background's colour."""

ONE_COLOUR = 0.75
"""Share of the object that must have its colour, bright or dark."""

OVERLAP = 0.80
"""Least overlap (intersection over union) of silhouette and shape."""

AHEAD = 0.06
"""How much more that must be than with any other shape: a circle and a square reach 0.84."""

STRAY = 0.12
"""Most that may lie outside the object, as a share of it."""

LARGE_FROM = 0.32
"""Radius, as a share of the side, from which an object is large."""

_SMALLEST = 60  # pixels of an object
_TOUCHING = 4  # pixels of it that may lie at the picture's edge: a star's tip may be cut off
_HALO_AT, _HALO = 4, 20.0  # pixels away from an object, where only this much of it may be left
_DARKER = 0.8  # of the bright stripes' lightness: anything darker is a dark stripe
_SOLID = 0.85  # share of a silhouette that stands out if the object has no hole
_PLAIN = 0.85  # share of the object that is bright if it has no stripes
_LEVEL = 0.75  # share of a striped object that is bright or dark as the rest of its row is
_CHANGES = 4  # between bright and dark rows, from top to bottom, that make stripes
_FAINTEST = 40.0  # distance from the background, in RGB, that counts as object at all


@dataclass(frozen=True, slots=True)
class Reading:
    """What a picture shows; None where it cannot be told.

    Attributes:
        overlap: of the silhouette with the best shape, 0 to 1.
    """

    shape: Shape | None = None
    colour: Colour | None = None
    background: Background | None = None
    size: Size | None = None
    style: Style | None = None
    overlap: float = 0.0

    def shows(self, scene: Scene) -> bool:
        """Whether shape, colour and background are all as asked."""
        own = (self.shape, self.colour, self.background)
        return own == (scene.shape, scene.colour, scene.background)

    def shows_exactly(self, scene: Scene) -> bool:
        """Whether size and style are, too."""
        return self.shows(scene) and (self.size, self.style) == (scene.size, scene.style)


@dataclass(frozen=True, slots=True)
class Object:
    """What stands out from a background.

    Attributes:
        background: its colour, RGB.
        shown: the pixels that stand out.
        silhouette: the object as a whole, holes included.
    """

    background: NDArray[np.float64]
    shown: Bits
    silhouette: Bits


def read(pixels: Pixels) -> Reading:
    """Read a picture of SIDE x SIDE pixels, RGB, or of half as many either way.

    Raises:
        ValueError: the picture is of another size or kind.
    """
    pixels = enlarged(pixels)
    background = border_colour(pixels)
    if background is None:
        return Reading()
    name = palette.nearest(background, palette.BACKGROUND)
    found = find_object(pixels, background)
    return replace(_read_object(pixels, found) if found else Reading(), background=name)


def enlarged(pixels: Pixels) -> Pixels:
    """A picture at the size that all limits here are meant for, SIDE x SIDE.

    Raises:
        ValueError: the picture is of another size or kind.
    """
    if pixels.shape == (SIDE // 2, SIDE // 2, 3) and pixels.dtype == np.uint8:
        image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return np.asarray(image)
    if pixels.shape != (SIDE, SIDE, 3) or pixels.dtype != np.uint8:
        kind = f"{pixels.dtype} of shape {pixels.shape}"
        raise ValueError(f"Only 8-bit RGB of {SIDE} x {SIDE} pixels can be read, not {kind}.")
    return pixels


def _read_object(pixels: Pixels, found: Object) -> Reading:
    shape, place, overlap = best_shape(found)
    bright = bright_part(pixels, found.shown)
    return Reading(
        shape=shape,
        colour=colour_name(pixels, found, bright),
        size=size_of(place) if shape else None,
        style=style_of(found, bright),
        overlap=overlap,
    )


def border_colour(pixels: Pixels) -> NDArray[np.float64] | None:
    """The colour of the frame, or None if it has several."""
    inside = np.zeros(pixels.shape[:2], bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    frame = pixels[~inside].astype(float)
    colour: NDArray[np.float64] = np.median(frame, axis=0)
    near = np.linalg.norm(frame - colour, axis=1) < _FAINTEST
    return colour if near.mean() >= EVEN else None


def find_object(pixels: Pixels, background: NDArray[np.float64]) -> Object | None:
    """The one object of a picture; None if there is none, a second one, a part of one, a smear."""
    shown = standing_out(pixels, background)
    if shown.sum() < _SMALLEST:
        return None
    silhouette = fill_holes(shown)
    main = _largest(silhouette)
    if main.sum() < _SMALLEST or (silhouette & ~main).sum() > STRAY * main.sum():
        return None
    found = Object(background, shown & main, main)
    cut_off = (main & _edge(main)).sum() > _TOUCHING
    return None if cut_off or _smeared(pixels, found) else found


def _smeared(pixels: Pixels, found: Object) -> bool:
    """Whether the object runs into the background: blurred enough, everything is round."""
    near = found.silhouette
    for _ in range(_HALO_AT - 1):
        near = _grown(near)
    ring = _grown(near) & ~near
    halo = pixels[ring].mean(axis=0) - found.background if ring.any() else np.zeros(3)
    return float(np.linalg.norm(halo)) > _HALO


def _edge(bits: Bits) -> Bits:
    """The outermost pixels of a picture."""
    edge = np.ones_like(bits)
    edge[1:-1, 1:-1] = False
    return edge


def standing_out(pixels: Pixels, background: NDArray[np.float64]) -> Bits:
    """Pixels that clearly differ from the background."""
    away = np.linalg.norm(pixels - background, axis=2)
    full = np.percentile(away[away > _FAINTEST], 75) if (away > _FAINTEST).any() else 0.0
    result: Bits = away > max(_FAINTEST, 0.25 * float(full))
    return result


def fill_holes(shown: Bits) -> Bits:
    """Everything that cannot be reached from the border."""
    return ~flood(_edge(shown), ~shown)


def flood(start: Bits, within: Bits) -> Bits:
    """All pixels of ``within`` that touch ``start``, by any number of level or upright steps."""
    reached = start & within
    while True:
        grown = _grown(reached) & within
        if (grown == reached).all():
            return reached
        reached = grown


def _grown(bits: Bits) -> Bits:
    """The bits and what is beside, above and below them."""
    grown = bits.copy()
    grown[1:] |= bits[:-1]
    grown[:-1] |= bits[1:]
    grown[:, 1:] |= bits[:, :-1]
    grown[:, :-1] |= bits[:, 1:]
    return grown


def _largest(shown: Bits) -> Bits:
    """The largest connected part."""
    left, best = shown.copy(), np.zeros_like(shown)
    while left.sum() > best.sum():
        seed = np.zeros_like(shown)
        seed.flat[int(left.argmax())] = True
        part = flood(seed, left)
        best = part if part.sum() > best.sum() else best
        left &= ~part
    return best


def best_shape(found: Object) -> tuple[Shape | None, Place, float]:
    """The shape that covers the silhouette best, where it would be, and how well it does.

    None instead of a shape that does so badly, or hardly better than another.
    """
    fits = [(shape, *fit(found.silhouette, OUTLINES[shape])) for shape in Shape]
    (shape, place, overlap), (_, _, second) = sorted(fits, key=lambda one: -one[2])[:2]
    sure = overlap >= OVERLAP and overlap - second >= AHEAD
    return shape if sure else None, place, overlap


def fit(silhouette: Bits, points: Points) -> tuple[Place, float]:
    """An outline of the silhouette's area and centre of mass: its place and the overlap."""
    area, x, y = proportions(points)
    rows, columns = np.nonzero(silhouette)
    radius = float(np.sqrt(len(rows) / area))
    place = Place(columns.mean() + 0.5 - radius * x, rows.mean() + 0.5 - radius * y, radius)
    expected = polygon(points, place) > 0.5
    union = (expected | silhouette).sum()
    return place, float((expected & silhouette).sum() / union)


def size_of(place: Place) -> Size:
    """Large or small."""
    return Size.LARGE if place.radius >= LARGE_FROM * SIDE else Size.SMALL


def bright_part(pixels: Pixels, shown: Bits) -> Bits:
    """The object without its dark stripes and without its blurred edge, if enough is left."""
    inside = _inside(shown)
    light = pixels.max(axis=2)
    bright: Bits = inside & (light >= _DARKER * np.percentile(light[inside], 90))
    return bright


def colour_of(pixels: Pixels, part: Bits) -> NDArray[np.float64]:
    """The median colour of a part of the picture."""
    colour: NDArray[np.float64] = np.median(pixels[part].astype(float), axis=0)
    return colour


def colour_name(pixels: Pixels, found: Object, bright: Bits) -> Colour | None:
    """The object's colour by its bright part; None if it has no name or the rest has another."""
    colour, rest = colour_of(pixels, bright), pixels[_inside(found.shown)]
    away = [np.linalg.norm(rest - one, axis=1) for one in (colour, palette.DARK * colour)]
    same = np.minimum(*away) <= palette.FARTHEST
    return palette.nearest(colour, palette.OBJECT) if same.mean() >= ONE_COLOUR else None


def style_of(found: Object, bright: Bits) -> Style | None:
    """How the object is painted: with a hole, all in one, or in level stripes."""
    if found.shown.sum() < _SOLID * found.silhouette.sum():
        return Style.OUTLINED
    inside = _inside(found.shown)
    if bright.sum() >= _PLAIN * inside.sum():
        return Style.FILLED
    return Style.STRIPED if _striped(inside, bright) else None


def _striped(inside: Bits, bright: Bits) -> bool:
    """Whether rows are bright or dark as a whole, and change often enough."""
    width = inside.sum(axis=1)
    rows = 2 * bright.sum(axis=1) > width
    level = ((bright == rows[:, None]) & inside).sum()
    changes = np.count_nonzero(np.diff(rows[width > 0]))
    return bool(level >= _LEVEL * inside.sum() and changes >= _CHANGES)


def _inside(shown: Bits) -> Bits:
    """What is shown without its outermost pixels, if enough is left."""
    inside = ~_grown(~shown)
    return inside if inside.sum() >= _SMALLEST // 2 else shown
