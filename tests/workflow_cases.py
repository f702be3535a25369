"""What each workflow that comes with Vulcan is tried on, with the micro Flux: a request of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from bridge.request import LoraChoice, Request
from models.micro import picture, spec
from models.micro.grammar import Background, Colour, Scene, Shape, Size, Style
from models.micro.picture import Pixels
from tests import studio
from tests.studio import Q4, Asked

SCENE = Scene(Shape.CIRCLE, Colour.RED, Background.BLUE, Size.LARGE, Style.FILLED)
OTHER = replace(SCENE, shape=Shape.SQUARE, colour=Colour.YELLOW)
LORA = LoraChoice(spec.LORA_FILE, 1.0)
CONCEPT = f"a large {spec.TRIGGER_WORD} on a white background"
HOLE = slice(12, 52)  # of the rows and columns that inpainting draws anew


@dataclass(frozen=True, slots=True)
class Case:
    """A request and the picture that it starts from, if it does."""

    request: Request
    image: bytes = b""


def start() -> Pixels:
    """A true picture of SCENE, (side, side, 3)."""
    drawn = picture.draw(SCENE, np.random.default_rng(3))
    return picture.reduced(drawn, spec.SIDE)


def png(pixels: Pixels, alpha: Pixels | None = None) -> bytes:
    """A file of these pixels, transparent where alpha is 0."""
    shown = pixels if alpha is None else np.dstack([pixels, alpha])
    file = BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    return file.getvalue()


def holed() -> bytes:
    """The same picture with a transparent middle."""
    alpha = np.full((spec.SIDE, spec.SIDE), 255, np.uint8)
    alpha[HOLE, HOLE] = 0
    return png(start(), alpha)


def _case(name: str, prompt: str, image: bytes = b"", **more: Any) -> Case:
    usual = studio.request(Asked(prompt, 11), Q4, 0.0)
    return Case(replace(usual, workflow=name, **more), image)


CASES: Mapping[str, Case] = {
    case.request.workflow: case
    for case in (
        _case("txt2img", SCENE.caption()),
        _case("txt2img_custom_sampler", SCENE.caption()),
        _case("lora_comparison", CONCEPT, loras=(LORA,)),
        _case("batch_generation", SCENE.caption()),
        _case("img2img", OTHER.caption(), png(start())),
        _case("img2img_refine", SCENE.caption(), png(start())),
        _case("inpaint", OTHER.caption(), holed()),
        # The detail pass is at twice the size, where the micro Flux is at home.
        _case("upscale_4x", SCENE.caption(), png(picture.reduced(start(), spec.SIDE // 2))),
    )
}
