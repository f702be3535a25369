import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import ssim
from core.ssim import Grey

# Of skimage.metrics.structural_similarity (scikit-image 0.25) with data_range=255,
# gaussian_weights=True, sigma=1.5, use_sample_covariance=False.
KNOWN = (
    0.9950131444299346,
    0.6671896313762872,
    0.6411967793251646,
    -0.6360512380595134,
    0.8629069943504144,
)


def pictures() -> Iterator[tuple[Grey, Grey]]:
    y, x = np.mgrid[0:40, 0:56].astype(float)
    base = 127.5 + 100 * np.sin(x / 5) * np.cos(y / 7)
    yield base, base + 10
    yield base, 0.5 * base
    yield base, base[::-1]
    yield base, 255 - base
    yield base, base + ((x * 7 + y * 13) % 32 - 15.5)


def noise(seed: int, shape: tuple[int, int] = (16, 24)) -> Grey:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(float)


def test_values_are_those_of_an_independent_program() -> None:
    found = [ssim.ssim(*pair) for pair in pictures()]
    assert found == pytest.approx(KNOWN, abs=1e-6)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=30)
def test_it_is_symmetric_1_for_equal_pictures_and_less_for_others(one: int, other: int) -> None:
    first, second = noise(one), noise(other)
    assert ssim.ssim(first, first) == pytest.approx(1.0)
    assert ssim.ssim(first, second) == pytest.approx(ssim.ssim(second, first))
    if one != other:
        assert -1 <= ssim.ssim(first, second) < 0.9


def test_more_noise_is_less_alike() -> None:
    (base, _), *_ = pictures()
    strength = noise(1, base.shape) - 127.5
    found = [ssim.ssim(base, base + share * strength) for share in (0.0, 0.01, 0.1, 0.5)]
    assert found == sorted(found, reverse=True)


def test_files_are_compared_by_their_grey_values() -> None:
    def png(level: int) -> bytes:
        out = io.BytesIO()
        Image.new("RGB", (16, 16), (level, level, level)).save(out, "PNG")
        return out.getvalue()

    assert ssim.of_files(png(100), png(100)) == pytest.approx(1.0)
    expected = (2 * 100 * 120 + 6.5025) / (100**2 + 120**2 + 6.5025)  # nothing but the mean differs
    assert ssim.of_files(png(100), png(120)) == pytest.approx(expected)


@pytest.mark.parametrize("shapes", [((16, 16), (16, 17)), ((10, 30), (10, 30))])
def test_what_cannot_be_compared_is_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        ssim.ssim(*(noise(0, shape) for shape in shapes))
