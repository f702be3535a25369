"""What the micro Flux can be asked for: scenes of one object on a plain background, in words.

A scene is a value; its caption is one of several wordings. Which scenes the model is trained on and
which it never sees is decided here, once, by name: a held-out triple of shape, colour and
background is held out in every size, style and wording.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from zlib import crc32


class Shape(StrEnum):
    """What is drawn; upright, about as wide as high."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    DIAMOND = "diamond"
    STAR = "star"
    CROSS = "cross"
    HEART = "heart"


class Colour(StrEnum):
    """The object's colour."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    WHITE = "white"


class Background(StrEnum):
    """The colour of everything else."""

    BLACK = "black"
    GRAY = "gray"
    WHITE = "white"
    BROWN = "brown"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"
    PINK = "pink"


class Size(StrEnum):
    """How much of the picture the object takes."""

    LARGE = "large"
    SMALL = "small"


class Style(StrEnum):
    """How the object is painted."""

    FILLED = "filled"
    OUTLINED = "outlined"
    STRIPED = "striped"


@dataclass(frozen=True, slots=True)
class Scene:
    """One object on a background."""

    shape: Shape
    colour: Colour
    background: Background
    size: Size = Size.LARGE
    style: Style = Style.FILLED

    @property
    def held_out(self) -> bool:
        """Whether no training picture shows this shape, colour and background together."""
        triple = f"{self.shape} {self.colour} {self.background}"
        return crc32(triple.encode()) % 4 == 0

    def caption(self, wording: int = 0) -> str:
        """Say it in words; ``wording`` is an index into :data:`WORDINGS`."""
        style = "" if self.style is Style.FILLED else self.style
        return say(WORDINGS[wording], self.size, style, self.colour, self.shape, self.background)


WORDINGS = (
    "a {size} {style} {colour} {shape} on a {background} background",
    "{size} {style} {colour} {shape}, {background} background",
    "a {background} background with a {size} {style} {colour} {shape}",
    "a picture of a {size} {style} {colour} {shape} on {background}",
)
"""Ways to say a scene. Filled is not said: it is what is meant where nothing is."""

_ALONE = "a {size} {style} {colour} {shape}"


def say(wording: str, size: str, style: str, colour: str, shape: str, background: str) -> str:
    """Fill a wording; any part may be empty."""
    said = (wording if background else _ALONE).format(
        size=size, style=style, colour=colour, shape=shape, background=background
    )
    words = said.split()
    return " ".join(
        _article(word, after) for word, after in zip(words, [*words[1:], ""], strict=True)
    )


def _article(word: str, following: str) -> str:
    return "an" if word == "a" and following[:1] in tuple("aeiou") else word


def scenes() -> Iterator[Scene]:
    """Every scene of the grammar, in a fixed order; object and background differ in name."""
    for parts in product(Shape, Colour, Background, Size, Style):
        scene = Scene(*parts)
        if scene.colour.value != scene.background.value:
            yield scene
