"""The scenes as pictures: where they lie, what they are painted in, and the palette's colours."""

from collections.abc import Iterator, Mapping
from itertools import combinations, product

import numpy as np
import pytest

from models.micro import palette, picture
from models.micro.grammar import Background, Colour, Scene, Shape, Size, Style, scenes
from models.micro.palette import BACKGROUND, DARK, FARTHEST, OBJECT, Name, Rgb, distance, nearest
from models.micro.picture import LINE, OUTLINES, RADIUS, SIDE, WANDER, Place, Points, polygon

MIDDLE = Place(64.0, 64.0, 45.0)


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def farthest_places(size: Size) -> Iterator[Place]:
    """The corners of what `somewhere` gives."""
    for x, y in product((-1, 1), repeat=2):
        wander = SIDE * WANDER[size]
        yield Place(SIDE / 2 + x * wander, SIDE / 2 + y * wander, SIDE * RADIUS[size][1])


def overhang(points: Points, place: Place) -> float:
    """How many pixels of an outline lie outside the picture; less than 0 is a margin."""
    at = np.array([place.x, place.y]) + place.radius * np.array(points)
    return float(max(-at.min(), at.max() - SIDE))


@pytest.mark.parametrize("size", Size)
def test_a_place_lies_within_its_sizes_limits(size: Size) -> None:
    drawn = stream()
    for _ in range(200):
        place = picture.somewhere(size, drawn)
        assert max(abs(place.x - 64), abs(place.y - 64)) <= SIDE * WANDER[size]
        assert RADIUS[size][0] <= place.radius / SIDE <= RADIUS[size][1]


@pytest.mark.parametrize(("shape", "size"), [*product(Shape, Size)])
def test_no_object_can_touch_the_frame(shape: Shape, size: Size) -> None:
    assert max(overhang(OUTLINES[shape], place) for place in farthest_places(size)) < -1


@pytest.mark.parametrize("shape", Shape)
def test_area_and_middle_of_an_outline_are_those_of_its_pixels(shape: Shape) -> None:
    area, x, y = picture.proportions(OUTLINES[shape])
    mask = polygon(OUTLINES[shape], MIDDLE)
    assert mask.sum() == pytest.approx(area * MIDDLE.radius**2, rel=0.02)
    rows, columns = np.indices(mask.shape) + 0.5
    counted = [(mask * at).sum() / mask.sum() for at in (columns, rows)]
    ours = [MIDDLE.x + MIDDLE.radius * x, MIDDLE.y + MIDDLE.radius * y]
    assert counted == pytest.approx(ours, abs=0.25)


def test_proportions_do_not_depend_on_the_direction_of_an_outline() -> None:
    for points in OUTLINES.values():
        backwards = picture.proportions(points[::-1])
        assert backwards == pytest.approx(picture.proportions(points))


def test_a_picture_depends_on_its_scene_and_stream_alone() -> None:
    scene, other = Scene(Shape.STAR, Colour.PINK, Background.BLUE), stream(1)
    first = picture.draw(scene, stream())
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    assert (picture.draw(scene, stream()) == first).all()
    assert (picture.draw(scene, other) != first).any()
    assert (picture.draw(scene, other) != picture.draw(scene, stream(1))).any()


@pytest.mark.parametrize("shape", Shape)
def test_edges_are_smooth_blends_of_the_two_colours(shape: Shape) -> None:
    scene = Scene(shape, Colour.WHITE, Background.BLACK)
    pixels = picture.draw(scene, stream())
    gray = pixels[..., 0].astype(int)
    assert (pixels == pixels[..., :1]).all()
    assert (gray.min(), gray.max()) == (15, 250)
    between = (gray > 15) & (gray < 250)
    assert len(np.unique(gray[between])) >= 3  # an upright edge has few
    assert 0 < between.mean() < 0.05


def test_an_outlined_object_is_the_filled_one_with_a_hole() -> None:
    for points in OUTLINES.values():
        whole, line = polygon(points, MIDDLE), polygon(points, MIDDLE, line=True)
        assert (line <= whole).all()
        assert line.sum() < 0.85 * whole.sum()
    ring = polygon(OUTLINES[Shape.CIRCLE], MIDDLE, line=True)[64]
    assert ring.sum() / 2 == pytest.approx(LINE * MIDDLE.radius, abs=1)


def test_stripes_are_level_and_the_middle_one_is_bright() -> None:
    bands = picture.bands(MIDDLE)
    assert (bands == bands[:, :1]).all()
    assert bands[63:65].min() == 1
    height = MIDDLE.radius * picture.BAND
    assert bands[int(64 + height), 0] == bands[int(64 - height), 0] == 0
    assert bands[int(64 + 2 * height), 0] == 1


@pytest.mark.parametrize("colours", [OBJECT, BACKGROUND])
def test_every_colour_is_taken_for_itself_and_what_is_halfway_for_neither(
    colours: Mapping[Name, Rgb],
) -> None:
    for name, rgb in colours.items():
        assert nearest(rgb, colours) is name
    for one, other in combinations(colours, 2):
        halfway = (np.array(colours[one]) + colours[other]) / 2
        assert nearest(halfway, colours) not in (one, other)


def test_a_colour_like_no_other_has_no_name() -> None:
    assert nearest((0, 255, 255), OBJECT) is None
    r, g, b = OBJECT[Colour.RED]
    assert nearest((r, g + 15, b + 15), OBJECT) is Colour.RED
    assert nearest((r - FARTHEST - 1, g, b), OBJECT) is None


def test_no_two_colours_are_within_each_others_reach() -> None:
    # Not twice the reach: brown and black are 72 apart, which is why the next must be farther.
    for colours in (OBJECT.values(), BACKGROUND.values()):
        assert min(distance(one, other) for one, other in combinations(colours, 2)) > FARTHEST


def test_an_object_stands_out_from_its_background_in_its_dark_stripes_too() -> None:
    for scene in scenes():
        paint, ground = np.array(OBJECT[scene.colour]), BACKGROUND[scene.background]
        assert distance(paint, ground) > 90
        assert distance(DARK * paint, ground) > 50


def test_a_colour_is_the_same_on_objects_and_backgrounds() -> None:
    both = {one.value for one in Colour} & {one.value for one in Background}
    assert both == {"white", "yellow", "green", "blue", "pink"}
    assert all(OBJECT[Colour(name)] == BACKGROUND[Background(name)] for name in both)


@pytest.mark.parametrize("style", Style)
def test_what_is_drawn_has_the_palettes_colours(style: Style) -> None:
    scene = Scene(Shape.SQUARE, Colour.ORANGE, Background.BLUE, Size.LARGE, style)
    pixels = picture.draw(scene, stream())
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    common = {tuple(one) for one in colours[np.argsort(counts)[-3:]].tolist()}
    assert {OBJECT[Colour.ORANGE], BACKGROUND[Background.BLUE]} <= common
    assert ((153, 84, 0) in common) == (style is Style.STRIPED)


def test_every_colour_and_background_is_painted() -> None:
    assert set(palette.OBJECT) == set(Colour)
    assert set(palette.BACKGROUND) == set(Background)
