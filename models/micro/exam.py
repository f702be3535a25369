"""What a trained micro Flux is asked, fixed before any was trained: held-out scenes only.

No model saw the shape, colour and background of these together, in any size, style or wording.
"""

from dataclasses import dataclass

import numpy as np

from models.micro import spec
from models.micro.grammar import WORDINGS, Background, Scene, Size, Style, scenes

SEEDS = (1, 2, 3)
MIXED = 240


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the scene that it asks for."""

    prompt: str
    scene: Scene


def plain() -> list[Question]:
    """Every held-out large filled scene in two wordings."""
    asked = [one for one in _held_out() if (one.size, one.style) == (Size.LARGE, Style.FILLED)]
    return [Question(one.caption(wording), one) for wording in (0, 1) for one in asked]


def mixed() -> list[Question]:
    """240 held-out scenes of all sizes and styles, each wording a quarter of them."""
    held_out = _held_out()
    order = np.random.default_rng(20261121).permutation(len(held_out))[:MIXED]
    chosen = [held_out[place] for place in order]
    return [Question(one.caption(number % len(WORDINGS)), one) for number, one in enumerate(chosen)]


def concept_prompts(word: str = spec.TRIGGER_WORD, count: int = 50) -> list[str]:
    """Prompts for the concept, or for any other word in its place."""
    sizes, grounds = [*Size], [*Background]
    prompts = [
        wording.format(size=size, style="", colour="", shape=word, background=ground)
        for wording in WORDINGS
        for ground in grounds
        for size in sizes
    ]
    return [" ".join(one.split()) for one in prompts][:count]


def _held_out() -> list[Scene]:
    return [scene for scene in scenes() if scene.held_out]
