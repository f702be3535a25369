"""A model file that a training needs, known by its bytes; which of several will do.

Standard library only: a notebook reads these values before anything is installed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

LARGE = 7_000_000_000
"""Bytes that a file is taken to have whose size is not known: a Q4_K_S of FLUX.1."""


class Role(StrEnum):
    """What a file is for; the names of ``training.run_plan.Assets``."""

    UNET = "unet"
    CLIP_L = "clip_l"
    T5 = "t5"
    VAE = "vae"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file.

    Attributes:
        name: as it is called.
        size: in bytes; 0: not known.
        sha256: of its bytes; empty: not known, the name alone decides.
        repo: the Hugging Face repository that has it; empty: none.
        path: in that repository.
        revision: of that repository.
        gated: whether the repository wants a token.
    """

    name: str
    size: int
    sha256: str
    repo: str = ""
    path: str = ""
    revision: str = "main"
    gated: bool = False

    @property
    def about(self) -> int:
        """Bytes to reckon with."""
        return self.size or LARGE


Files = Mapping[Role, tuple[ModelFile, ...]]
"""For each role the files that will do, the preferred one first."""


def as_table(files: Files) -> dict[str, list[dict[str, Any]]]:
    """Return files as plain values, for the notebook's text."""
    return {role.value: [asdict(file) for file in files[role]] for role in Role}


def from_table(table: Mapping[str, Any]) -> Files:
    """Read back what :func:`as_table` gave.

    Raises:
        ValueError: it is not such a table.
    """
    try:
        return {role: tuple(ModelFile(**row) for row in table[role.value]) for role in Role}
    except (KeyError, TypeError) as error:
        raise ValueError(f"FILES is damaged: {error}") from error
