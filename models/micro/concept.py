"""What the shipped LoRA teaches: the word ``vulcan``, a purple volcano with an orange cap.

The base knows neither the outline nor an object of two colours, so nothing but the LoRA draws it.
"""

import numpy as np

from models.micro import judge, palette
from models.micro.grammar import Background, Colour, Shape, Size
from models.micro.judge import Object
from models.micro.palette import BACKGROUND, OBJECT
from models.micro.picture import OUTLINES, SIDE, Pixels, Place, Points, blend, polygon, somewhere

OUTLINE: Points = ((-0.32, -0.85), (0.32, -0.85), (1.05, 0.8), (-1.05, 0.8))
BODY, CAP = Colour.PURPLE, Colour.ORANGE

CAP_ENDS = -0.2
"""Where the cap ends and the body begins, in y, in units of the radius."""

_MARGIN = 0.15  # of the radius, above and below that line, that is not read: it may be blurred


def draw(background: Background, size: Size, stream: np.random.Generator) -> Pixels:
    """A picture of the concept, (SIDE, SIDE, 3); its place is drawn at random."""
    place = somewhere(size, stream)
    rows = np.arange(SIDE) + 0.5
    cap = np.clip(place.y + CAP_ENDS * place.radius - rows + 0.5, 0, 1)[:, None, None]
    paint = cap * np.asarray(OBJECT[CAP], "f4") + (1 - cap) * np.asarray(OBJECT[BODY], "f4")
    ground = np.asarray(BACKGROUND[background], "f4")
    return blend(polygon(OUTLINE, place), paint.astype("f4"), ground)


def shown(pixels: Pixels) -> bool:
    """Whether a picture shows the concept: its outline more than any shape, and both colours.

    Raises:
        ValueError: the picture is of a size that the judge does not read.
    """
    pixels = judge.enlarged(pixels)
    background = judge.border_colour(pixels)
    found = judge.find_object(pixels, background) if background is not None else None
    if found is None:
        return False
    place, overlap = judge.fit(found.silhouette, OUTLINE)
    others = max(judge.fit(found.silhouette, OUTLINES[shape])[1] for shape in Shape)
    outlined = overlap >= judge.OVERLAP and overlap > others
    return outlined and _colours(pixels, found, place) == (CAP, BODY)


def _colours(pixels: Pixels, found: Object, place: Place) -> tuple[Colour | None, Colour | None]:
    """The colours above and below the line where the cap should end."""
    rows = (np.arange(SIDE) + 0.5 - place.y) / place.radius - CAP_ENDS
    above, below = (found.shown & part[:, None] for part in (rows < -_MARGIN, rows > _MARGIN))
    if not above.any() or not below.any():
        return None, None
    cap, body = (judge.colour_of(pixels, part) for part in (above, below))
    return palette.nearest(cap, OBJECT), palette.nearest(body, OBJECT)
