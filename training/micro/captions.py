"""What training pictures are called: a wording of the grammar, sometimes with less, or more, in it.

A part may be left unsaid, and words that mean nothing may be there: made-up ones, and those of the
vocabulary that name no part of a scene. So the model learns to do without, and to bear a word that
it does not know, which is what a LoRA's trigger word is.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.micro import spec
from models.micro.grammar import WORDINGS, Background, Colour, Scene, Shape, Size, Style, say

UNSAID = 0.06
"""How often each of size, colour and background is left out."""

UNKNOWN_SHAPE = 0.08
"""How often a word that means nothing stands for the shape."""

FURTHER_WORD = 0.10
"""How often a word that means nothing is added."""

USUAL_WORDING = 0.4

PARTS: tuple[type[StrEnum], ...] = (Shape, Colour, Background, Size, Style)
_MEANT = {part.value for kind in PARTS for part in kind}
_SMALL_WORDS = {"a", "an", "the", "of", "on", "in", "and", "with", "background", "picture", "shape"}
MEANINGLESS = tuple(word for word in spec.WORDS if word not in _MEANT | _SMALL_WORDS)


@dataclass(frozen=True, slots=True)
class Caption:
    """A text, and what it says.

    Attributes:
        text: the prompt.
        said: for every part of a scene, in the order of PARTS, its place in its enumeration; the
            number of members where nothing is said.
    """

    text: str
    said: tuple[int, ...]


def caption(scene: Scene, stream: np.random.Generator) -> Caption:
    """Call a scene something."""
    size, colour, background = (
        "" if stream.random() < UNSAID else part.value
        for part in (scene.size, scene.colour, scene.background)
    )
    shape = unknown(stream) if stream.random() < UNKNOWN_SHAPE else scene.shape.value
    plain = scene.style is Style.FILLED
    style = "" if plain and stream.random() < 0.9 else scene.style.value
    text = say(any_wording(stream), size, style, colour, shape, background)
    if stream.random() < FURTHER_WORD:
        text = _with(text, unknown(stream), stream)
    values = (shape, colour, background, size, scene.style.value)
    return Caption(text, tuple(map(_place, PARTS, values)))


def unknown(stream: np.random.Generator) -> str:
    """A word without a meaning."""
    if stream.random() < 0.5:
        return str(stream.choice(MEANINGLESS))
    return made_up(stream)


def made_up(stream: np.random.Generator) -> str:
    """A word that is in no vocabulary, such as ``brofip``."""
    syllables = (
        stream.choice([*"bdfgklmnprstvz", "br", "st", "kl", "tr"]) + stream.choice([*"aeiou"])
        for _ in range(int(stream.integers(1, 4)))
    )
    return "".join(syllables) + str(stream.choice([*"bdfgklmnprstxz"]))


def any_wording(stream: np.random.Generator) -> str:
    """One of the wordings, the first more often."""
    if stream.random() < USUAL_WORDING:
        return WORDINGS[0]
    return WORDINGS[int(stream.integers(len(WORDINGS)))]


def _with(text: str, word: str, stream: np.random.Generator) -> str:
    """The text with a word in front or behind."""
    return (f"{word}, {text}", f"{text}, {word}", f"{text} {word}")[int(stream.integers(3))]


def _place(kind: type[StrEnum], value: str) -> int:
    members = [part.value for part in kind]
    return members.index(value) if value in members else len(members)
