"""What a person should know before a training begins: whether this machine is one to train on.

An estimate of the card's memory, and whether there is a card at all, without loading torch: the
device files say it. Only advice; who knows better goes on.
"""

from collections.abc import Sequence
from pathlib import Path

from core.training_record import Where
from core.training_setup import Setup
from models import base_shape, vram_training

CARDS = (Path("/dev/nvidia0"), Path("/dev/dxg"), Path("/dev/kfd"))
"""Device files of NVIDIA's driver, of WSL's (any card of the Windows host), of AMD's."""

_PIXELS_PER_TOKEN = 16
_TEXT_TOKENS = 256


def notes(setup: Setup, place: Where, cards: Sequence[Path] = CARDS) -> list[str]:
    """Return what is to be told, as sentences.

    Raises:
        ModelError: the base cannot be read.
    """
    if setup.is_micro or place is not Where.LOCAL:
        return []
    if not any(path.exists() for path in cards):
        return [
            "No graphics card is seen here: an update of FLUX.1 takes minutes on a processor. "
            "`--on kaggle` trains on Kaggle's free ones."
        ]
    return [f"About {_needed(setup) / 1e9:.0f} GB of the card's memory will be taken (estimate)."]


def _needed(setup: Setup) -> int:
    """Return the bytes that a training takes at its largest size."""
    recipe = setup.plan.recipe
    side = max(recipe.resolution) // _PIXELS_PER_TOKEN
    tokens = recipe.batch * (side * side + _TEXT_TOKENS)
    shape, weights = base_shape.read(setup.assets.unet), setup.assets.unet.stat().st_size
    return vram_training.training(shape, weights, tokens, recipe.rank).total
