"""The one error that quantize/ raises, beside the ModelErrors of the files that it reads."""

from enum import StrEnum
from pathlib import Path

from models.errors import ToldError


class Problem(StrEnum):
    """What kind of failure it is, for callers that treat some of them differently."""

    TARGET_EXISTS = "target exists"
    TARGET_BUSY = "target busy"
    BAD_SOURCE = "bad source"
    BAD_WEIGHT = "bad weight"
    BAD_TYPE = "bad type"
    NO_SPACE = "no space"
    NO_ENGINE = "no engine"
    DISK = "disk"


class QuantizeError(ToldError):
    """A model was not converted, and no file was left behind.

    Attributes:
        kind: what kind of failure it is.
    """

    def __init__(
        self, kind: Problem, what: str, *, path: Path | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, path=path, why=why, fix=fix)
        self.kind = kind
