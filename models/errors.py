"""The one error that models/ raises, and what the errors of the packages above have in common.

It knows how to say a failure in a sentence or two; it does not know who reads them: the director
prints them, the host puts them into its answer.
"""

from pathlib import Path


def sentence(what: str, path: Path | None, why: str, fix: str) -> str:
    """Join the parts of a failure: on which thing, what, why, and what to do next."""
    head = f"{path}: {what}" if path else what
    return f"{head}{f': {why}' if why else ''}.{f' {fix}.' if fix else ''}"


class ToldError(Exception):
    """A failure that a user can act on, told in a sentence or two.

    Attributes:
        what: what failed, without a full stop.
        path: the file it failed on, if it was one.
        why: the finding behind it, with both numbers where two differ.
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


class ModelError(ToldError):
    """A model file is not what it should be, or two files do not belong together."""

    def about(self, path: Path) -> "ModelError":
        """The same error, once it is known which file it is about."""
        return ModelError(self.what, path=path, why=self.why, fix=self.fix)
