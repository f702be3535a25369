"""``FILE:STRENGTH``: how a command line names a LoRA and how strongly it is meant."""

from contextlib import suppress
from pathlib import Path

from models.errors import ModelError

MOST_STRENGTH = 10.0


def lora_and_strength(text: str) -> tuple[str, float]:
    """Take ``FILE:STRENGTH`` apart; a file whose own name ends like that is a file.

    Raises:
        ModelError: the strength is out of range.
    """
    file, colon, number = text.rpartition(":")
    with suppress(ValueError):
        strength = float(number)
        if colon and file and not Path(text).is_file():
            if not -MOST_STRENGTH <= strength <= MOST_STRENGTH:
                raise ModelError(
                    f"{number} is no strength of {file}",
                    fix=f"Choose from -{MOST_STRENGTH:g} to {MOST_STRENGTH:g}; 1 is as trained",
                )
            return file, strength
    return text, 1.0
