"""The size and steps that suit a unet, where nobody asks for others."""

from collections.abc import Mapping
from dataclasses import dataclass

from models import flux
from models.micro import spec as micro


@dataclass(frozen=True, slots=True)
class Native:
    """What suits a model when nobody says otherwise."""

    width: int
    height: int
    steps: int


FULL_SIZE = Native(width=1024, height=1024, steps=20)
MICRO_SIZE = Native(width=micro.SIDE, height=micro.SIDE, steps=8)


def of(shapes: Mapping[str, tuple[int, ...]]) -> Native:
    """Choose by the shapes of a unet's tensors: full-width Flux was trained at a megapixel.

    Raises:
        ModelError: they are not a FLUX.1's.
    """
    return FULL_SIZE if flux.detect(shapes).hidden >= flux.FLUX_DEV.hidden else MICRO_SIZE
