"""Which part of a picture might make a picture of its own: the surroundings of its one face.

A proposal for people to judge. Nothing is cropped because of it.
"""

from training.buckets import choose
from training.dataset.faces import Box
from training.dataset.measurement import Measurement
from training.dataset.set_checks import Framing, framing
from training.recipe import Recipe

MARGIN = 0.6
"""Of the face's size, on each side: hair, chin and neck stay in (reference: kohya's and
ai-toolkit's users crop to head and shoulders)."""


def propose(one: Measurement, recipe: Recipe) -> Box | None:
    """Return a crop around the face of a whole figure.

    None where there is no face or several, where the picture is a portrait already, and where the
    crop would have to be enlarged.
    """
    if len(one.faces) != 1 or framing(one) != Framing.FIGURE:
        return None
    crop = around(one.faces[0], one.look.width, one.look.height)
    bucket = choose(crop.width, crop.height, min(recipe.resolution), recipe.bucket_step)
    return crop if bucket.width <= crop.width and bucket.height <= crop.height else None


def around(face: Box, width: int, height: int) -> Box:
    """Return the box with its margin, moved and cut to lie within a picture of this size."""
    wide = min(width, round(face.width * (1 + 2 * MARGIN)))
    high = min(height, round(face.height * (1 + 2 * MARGIN)))
    left = face.left + (face.width - wide) // 2
    top = face.top + (face.height - high) // 2
    return Box(max(0, min(left, width - wide)), max(0, min(top, height - high)), wide, high)
