"""Crops are proposed around one small face, and always lie in the picture."""

from hypothesis import given
from hypothesis import strategies as st

from tests.dataset_kit import RECIPE, measurement
from training.dataset import crop
from training.dataset.faces import Box


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    face=st.tuples(
        st.integers(-50, 5000), st.integers(-50, 5000), st.integers(1, 3000), st.integers(1, 3000)
    ),
)
def test_a_crop_lies_in_its_picture(
    width: int, height: int, face: tuple[int, int, int, int]
) -> None:
    box = crop.around(Box(*face), width, height)
    assert box.left >= 0
    assert box.top >= 0
    assert 0 < box.width <= width - box.left
    assert 0 < box.height <= height - box.top


def test_a_crop_has_its_margin_on_each_side() -> None:
    assert crop.around(Box(500, 500, 100, 100), 2000, 2000) == Box(440, 440, 220, 220)


def test_only_a_single_small_face_with_pixels_enough_is_proposed() -> None:
    face = Box(400, 200, 100, 100)
    figure = measurement("a", (1000, 1000), faces=(face,))
    assert crop.propose(figure, RECIPE) == Box(340, 140, 220, 220)
    none = (
        measurement("none", (1000, 1000)),
        measurement("two", (1000, 1000), faces=(face, Box(700, 200, 90, 90))),
        measurement("portrait", (1000, 500), faces=(face,)),
        measurement("small", (500, 500), faces=(Box(10, 10, 20, 20),)),
    )
    for one in none:
        assert crop.propose(one, RECIPE) is None
