"""The judge reads every true picture, also a slightly damaged one, and refuses what is none."""

from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from models.micro import judge, picture
from models.micro.grammar import Background, Colour, Scene, Shape, Size, Style, scenes
from models.micro.judge import Reading
from models.micro.palette import BACKGROUND, OBJECT
from models.micro.picture import OUTLINES, SIDE, Mask, Pixels, Place, blend, polygon

SCENES = list(scenes())
RED, BLUE = OBJECT[Colour.RED], OBJECT[Colour.BLUE]
GRAY = BACKGROUND[Background.GRAY]
FULL = (SIDE, SIDE, 3)
Damage = Callable[[Pixels], Pixels]


def sample(count: int, seed: int) -> list[tuple[Scene, Pixels]]:
    """Scenes from all over the grammar, and a picture of each."""
    stream = np.random.default_rng(seed)
    chosen = [SCENES[place] for place in stream.permutation(len(SCENES))[:count]]
    return [(scene, picture.draw(scene, stream)) for scene in chosen]


def painted(mask: Mask, paint: object, ground: object = GRAY) -> Pixels:
    return blend(mask, np.asarray(paint, "f4"), np.asarray(ground, "f4"))


def shape_at(shape: Shape, x: float, y: float, radius: float = 45.0) -> Mask:
    return polygon(OUTLINES[shape], Place(x, y, radius))


def blurred(pixels: Pixels, radius: float = 1.0) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def noisy(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(9).normal(0, 6, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def halved_and_doubled(pixels: Pixels) -> Pixels:
    """At half the size and back: what a VAE's coarse latents do to edges."""
    small = Image.fromarray(pixels).resize((SIDE // 2, SIDE // 2), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def darker(pixels: Pixels) -> Pixels:
    return np.asarray(pixels * 0.93).astype(np.uint8)


def test_every_kind_of_scene_is_read_as_it_was_drawn() -> None:
    drawn = sample(400, seed=1)
    assert {scene.shape for scene, _ in drawn} == set(Shape)
    assert {(scene.colour, scene.background) for scene, _ in drawn} == {
        (scene.colour, scene.background) for scene in SCENES
    }
    assert {(scene.size, scene.style) for scene, _ in drawn} == set(product(Size, Style))
    for scene, pixels in drawn:
        reading = judge.read(pixels)
        assert reading.shows_exactly(scene), (scene, reading)
        assert reading.overlap > 0.9


def test_every_kind_of_scene_is_read_at_half_the_size_too() -> None:
    for scene, pixels in sample(300, seed=6):
        small = picture.reduced(pixels, SIDE // 2)
        assert judge.read(small).shows_exactly(scene), (scene, judge.read(small))


@pytest.mark.parametrize("damage", [blurred, noisy, halved_and_doubled, darker])
def test_a_slightly_damaged_picture_is_read_all_the_same(damage: Damage) -> None:
    for scene, pixels in sample(60, seed=2):
        reading = judge.read(damage(pixels))
        assert reading.shows(scene), (scene, reading)
        assert reading.size is scene.size
        # A blur closes the hole of a small star, five pixels wide.
        closes = (scene.shape, scene.size, scene.style) == (Shape.STAR, Size.SMALL, Style.OUTLINED)
        assert reading.style is scene.style or closes


@pytest.mark.parametrize(("x", "y"), [(-12, -12), (12, -12), (-12, 12), (12, 12), (0.5, 0.25)])
def test_it_does_not_matter_where_the_object_is(x: float, y: float) -> None:
    for shape in Shape:
        reading = judge.read(painted(shape_at(shape, 64 + x, 64 + y, 42.0), RED))
        assert (reading.shape, reading.size) == (shape, Size.LARGE)


def test_the_tip_of_a_star_may_touch_the_frame() -> None:
    mask = shape_at(Shape.STAR, 64, 50, 44)
    assert mask[0].any()
    assert judge.read(painted(mask, RED)).shape is Shape.STAR


def test_an_empty_picture_shows_its_background_and_nothing_else() -> None:
    for background, colour in BACKGROUND.items():
        empty = painted(np.zeros((SIDE, SIDE), "f4"), RED, colour)
        assert judge.read(empty) == Reading(background=background)


def test_noise_shows_nothing() -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, FULL).astype(np.uint8)
        assert judge.read(noise) == Reading()


def test_of_two_objects_neither_is_read() -> None:
    left = shape_at(Shape.HEART, 32, 64, 22)
    for radius, x in ((22, 96), (12, 80)):
        both = painted(np.maximum(left, shape_at(Shape.HEART, x, 64, radius)), RED)
        assert judge.read(both) == Reading(background=Background.GRAY)


def test_of_two_objects_that_touch_no_shape_is_read() -> None:
    both = np.maximum(shape_at(Shape.SQUARE, 40, 64, 28), shape_at(Shape.CIRCLE, 85, 64, 28))
    assert judge.read(painted(both, RED)).shape is None


def test_an_object_on_another_is_not_one_of_one_colour() -> None:
    outer, inner = shape_at(Shape.CIRCLE, 64, 64), shape_at(Shape.CIRCLE, 64, 64, 26)
    paint = inner[..., None] * np.array(BLUE, "f4") + (1 - inner[..., None]) * np.array(RED, "f4")
    reading = judge.read(painted(outer, paint))
    assert (reading.shape, reading.colour) == (Shape.CIRCLE, None)


def blob(seed: int) -> Mask:
    """A round thing with bumps."""
    stream = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = (
        stream.normal(0, 0.6 / n) * np.cos(n * turn + stream.uniform(0, 7)) for n in range(2, 7)
    )
    radius = np.clip(1 + sum(waves), 0.3, 1.6)
    return polygon(
        tuple(zip(radius * np.sin(turn), radius * np.cos(turn), strict=True)), Place(64, 64, 36)
    )


def test_a_blob_is_no_shape() -> None:
    read = [judge.read(painted(blob(seed), RED)).shape for seed in range(40)]
    assert read.count(None) >= 38  # chance makes a heart, now and then


@pytest.mark.parametrize(("wide", "high"), [(50, 25), (25, 50), (50, 32)])
@pytest.mark.parametrize("kind", ["rectangle", "ellipse"])
def test_a_shape_out_of_proportion_is_no_shape(kind: str, wide: int, high: int) -> None:
    image = Image.new("RGB", (SIDE, SIDE), GRAY)
    box = (64 - wide, 64 - high, 64 + wide, 64 + high)
    getattr(ImageDraw.Draw(image), kind)(box, fill=RED)
    assert judge.read(np.asarray(image)).shape is None


@pytest.mark.parametrize("shape", Shape)
def test_what_is_blurred_beyond_recognition_is_not_read(shape: Shape) -> None:
    scene = Scene(shape, Colour.RED, Background.GRAY, Size.SMALL)
    reading = judge.read(blurred(picture.draw(scene, np.random.default_rng(3)), 10))
    assert reading.shape is None or reading.colour is None


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize(("x", "y"), [(0, 64), (128, 64), (64, 0), (64, 128), (0, 0), (128, 128)])
@pytest.mark.parametrize("radius", [22.0, 45.0])
def test_an_object_that_the_frame_cuts_off_is_not_read(
    shape: Shape, x: float, y: float, radius: float
) -> None:
    reading = judge.read(painted(shape_at(shape, x, y, radius), RED))
    assert (reading.shape, reading.colour) == (None, None)


@pytest.mark.parametrize(("one", "other"), [*combinations(Colour, 2)])
def test_a_colour_between_two_is_neither(one: Colour, other: Colour) -> None:
    halfway = (np.array(OBJECT[one]) + OBJECT[other]) / 2
    reading = judge.read(painted(shape_at(Shape.SQUARE, 64, 64), halfway, (15, 15, 15)))
    assert reading.shape is Shape.SQUARE
    assert reading.colour not in (one, other)


def test_an_object_of_two_colours_has_none() -> None:
    for one, other in combinations(OBJECT.values(), 2):
        paint = np.empty(FULL, "f4")
        paint[:, :64], paint[:, 64:] = one, other
        reading = judge.read(painted(shape_at(Shape.CIRCLE, 64, 64), paint, (15, 15, 15)))
        assert (reading.shape, reading.colour) == (Shape.CIRCLE, None)


HALF, BANDS = np.arange(SIDE) < 64, np.arange(SIDE) // 12 % 2 == 0


@pytest.mark.parametrize(
    ("bright", "upright", "style"),
    [(HALF, True, None), (HALF, False, None), (BANDS, True, None), (BANDS, False, Style.STRIPED)],
)
def test_only_level_stripes_are_stripes(
    bright: NDArray[np.bool_], upright: bool, style: Style | None
) -> None:
    shade = np.where(bright[:, None], 1, 0.6)
    paint = (shade.T if upright else shade)[..., None] * np.array(RED, "f4")
    reading = judge.read(painted(shape_at(Shape.CIRCLE, 64, 64), np.broadcast_to(paint, FULL)))
    assert reading.colour is Colour.RED
    assert reading.style is style


@pytest.mark.parametrize("upright", [True, False])
def test_a_slope_from_one_colour_to_another_is_no_background(upright: bool) -> None:
    slope = np.linspace(0, 1, SIDE)[:, None, None]
    ground = slope * np.array(BLUE) + (1 - slope) * np.array(GRAY)
    ground = np.broadcast_to(ground.transpose(1, 0, 2) if upright else ground, FULL)
    assert judge.read(painted(shape_at(Shape.STAR, 64, 64), RED, ground)) == Reading()


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((SIDE // 4, SIDE // 4, 3), np.uint8),
        np.zeros((SIDE, 2 * SIDE, 3), np.uint8),
        np.zeros((SIDE, SIDE, 4), np.uint8),
        np.zeros((SIDE, SIDE), np.uint8),
        np.zeros((SIDE, SIDE, 3), np.float32),
    ],
    ids=lambda other: f"{other.shape} {other.dtype}",
)
def test_a_picture_of_another_size_or_kind_is_a_sentence(other: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"Only 8-bit RGB of 128 x 128 pixels can be read, not "):
        judge.read(other)


@st.composite
def patchworks(draw: st.DrawFn) -> Pixels:
    """Patches of any colours and size, all over the picture or inside an even frame."""
    count = draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    patches = draw(arrays(np.uint8, (count, count, 3)))
    pixels = patches.repeat(SIDE // count, axis=0).repeat(SIDE // count, axis=1)
    frame = draw(st.integers(0, 30))
    if frame:
        inside = pixels[frame:-frame, frame:-frame].copy()
        pixels[:] = draw(arrays(np.uint8, 3))
        pixels[frame:-frame, frame:-frame] = inside
    return pixels


@settings(max_examples=60, deadline=None)
@given(pixels=patchworks())
def test_anything_can_be_read(pixels: Pixels) -> None:
    reading = judge.read(pixels)
    assert 0 <= reading.overlap <= 1
    assert reading.shape is None or reading.overlap >= judge.OVERLAP
    assert (reading.shape is None) == (reading.size is None)


def asked(scene: Scene) -> tuple[Shape, Colour, Background]:
    return scene.shape, scene.colour, scene.background


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SCENES), st.sampled_from(SCENES), st.integers(0, 99))
def test_a_picture_of_one_scene_never_shows_another(one: Scene, other: Scene, seed: int) -> None:
    assume(asked(one) != asked(other))
    reading = judge.read(picture.draw(other, np.random.default_rng(seed)))
    assert not reading.shows(one)
    assert reading.shows(other)
