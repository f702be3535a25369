from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import buckets
from training.buckets import Bucket

sides = st.integers(16, 6000)
resolutions = st.sampled_from([256, 512, 768, 1024])
steps = st.sampled_from([16, 32, 64])


def kohya(resolution: int, step: int) -> set[tuple[int, int]]:
    """sd-scripts, library/model_util.py make_bucket_resolutions, with our bounds of the sides."""
    found = set()
    width = int(resolution * resolution**0.5 * resolution**0.5) // resolution // step * step
    found.add((width, width))
    least, most = resolution // 2, resolution * 2
    size = -(-least // step) * step
    while size <= most:
        height = min(most, (resolution * resolution // size) // step * step)
        if height >= least:
            found |= {(size, height), (height, size)}
        size += step
    return found


@pytest.mark.parametrize("resolution", [256, 512, 768, 1024])
def test_the_buckets_are_kohyas(resolution: int) -> None:
    ours = {(one.width, one.height) for one in buckets.buckets(resolution, 64)}
    assert ours == kohya(resolution, 64)


@given(resolutions, steps)
def test_no_bucket_is_larger_than_the_resolutions_square(resolution: int, step: int) -> None:
    for one in buckets.buckets(resolution, step):
        assert one.width % step == one.height % step == 0
        assert one.width * one.height <= resolution * resolution


@given(sides, sides, resolutions, steps)
def test_a_picture_is_not_enlarged_where_a_bucket_fits(
    width: int, height: int, resolution: int, step: int
) -> None:
    chosen = buckets.choose(width, height, resolution, step)
    fits = any(
        one.width <= width and one.height <= height for one in buckets.buckets(resolution, step)
    )
    assert not fits or (chosen.width <= width and chosen.height <= height)


@given(sides, sides, resolutions)
def test_a_large_picture_gets_the_nearest_shape(width: int, height: int, resolution: int) -> None:
    width, height = width + 2048, height + 2048
    chosen, own = buckets.choose(width, height, resolution, 64), log(width / height)
    gap = abs(log(chosen.width / chosen.height) - own)
    every = buckets.buckets(resolution, 64)
    assert gap <= min(abs(log(one.width / one.height) - own) for one in every) + 1e-5


@given(sides, sides, resolutions)
def test_the_cut_covers_its_bucket_and_lies_in_the_middle(
    width: int, height: int, resolution: int
) -> None:
    bucket = buckets.choose(width, height, resolution, 64)
    way = buckets.cut(width, height, bucket)
    assert way.resized[0] >= bucket.width
    assert way.resized[1] >= bucket.height
    assert way.resized[0] == bucket.width or way.resized[1] == bucket.height
    assert abs(way.resized[0] - bucket.width - 2 * way.left) <= 1
    assert abs(way.resized[1] - bucket.height - 2 * way.top) <= 1


def test_a_picture_has_one_bucket_for_each_resolution() -> None:
    found = buckets.all_of(3000, 2000, [512, 768], 64)
    assert found == (Bucket(640, 384), Bucket(896, 640))
