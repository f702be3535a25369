"""The one error that training raises for what a user can act on."""

from pathlib import Path

from models.errors import sentence


class TrainingError(Exception):
    """A training cannot begin, or cannot go on.

    Attributes:
        what: what failed, without a full stop.
        path: the file it failed on, if it was one.
        why: the finding behind it.
        fix: what the user can do next.
    """

    def __init__(
        self, what: str, *, path: Path | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = path
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return sentence(self.what, self.path, self.why, self.fix)
