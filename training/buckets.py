"""The sizes at which pictures are trained: each near its own shape, none above a given area.

After kohya's sd-scripts (library/model_util.py ``make_bucket_resolutions``, train_util.py
``BucketManager``): sides are multiples of a step, the area is at most the square of the resolution,
a picture goes to the bucket nearest to its aspect ratio, is resized to cover it and cropped in the
middle. Nothing is enlarged where a smaller bucket does (``bucket_no_upscale``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

LONGEST = 2  # times the resolution: no side is longer, none shorter than half of it


@dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """A size in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Cut:
    """How a picture gets to its bucket's size: resized to cover it, then cropped.

    Attributes:
        bucket: the size in the end.
        resized: width and height before cropping.
        left: pixels cut off at the left.
        top: pixels cut off at the top.
    """

    bucket: Bucket
    resized: tuple[int, int]
    left: int
    top: int


def buckets(resolution: int, step: int) -> tuple[Bucket, ...]:
    """Return all sizes of a resolution, sorted; ``step`` divides every side."""
    least, most = max(step, resolution // LONGEST), resolution * LONGEST
    found = set()
    for width in range(-(-least // step) * step, most + 1, step):
        height = min(most, resolution * resolution // width) // step * step
        if height >= least:
            found |= {Bucket(width, height), Bucket(height, width)}
    side = resolution // step * step
    return tuple(sorted(found | {Bucket(side, side)}))


def choose(width: int, height: int, resolution: int, step: int) -> Bucket:
    """Return the bucket of a picture.

    Of those that it need not be enlarged for, the largest of the nearest aspect ratio; if it is
    smaller than all of them, the nearest of all.
    """
    sizes = buckets(resolution, step)
    fitting = [one for one in sizes if one.width <= width and one.height <= height] or sizes
    own = log(width / height)
    return min(
        fitting,
        key=lambda one: (
            round(abs(log(one.width / one.height) - own), 6),
            -one.width * one.height,
            one,
        ),
    )


def cut(width: int, height: int, bucket: Bucket) -> Cut:
    """Return how a picture of this size is brought to a bucket."""
    scale = max(bucket.width / width, bucket.height / height)
    wide = max(bucket.width, round(width * scale))
    high = max(bucket.height, round(height * scale))
    return Cut(bucket, (wide, high), (wide - bucket.width) // 2, (high - bucket.height) // 2)


def all_of(width: int, height: int, resolutions: Sequence[int], step: int) -> tuple[Bucket, ...]:
    """Return a picture's bucket at each resolution, without repeats."""
    found = (choose(width, height, resolution, step) for resolution in resolutions)
    return tuple(dict.fromkeys(found))
