"""The one error that quantize/ raises, beside the ModelErrors of the files that it reads."""

from enum import StrEnum
from pathlib import Path

from models.errors import sentence


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


class QuantizeError(Exception):
    """A model was not converted, and no file was left behind.

    Attributes:
        kind: what kind of failure it is.
        what: what failed, without a full stop.
        path: the file it failed on, if it was one.
        why: the finding behind it.
        fix: what the user can do next.
    """

    def __init__(
        self, kind: Problem, what: str, *, path: Path | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.path = path
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return sentence(self.what, self.path, self.why, self.fix)
