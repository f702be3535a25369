"""Something about a data set that its maker should know."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"  # the training cannot begin with it
    WARNING = "warning"  # the LoRA will be worse for it
    NOTE = "note"  # dealt with; good to know


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: how bad it is.
        code: which check found it; stays the same when the words change.
        files: which it is about, relative to the folder; none if it is about the whole set.
        text: what is so, one sentence without a full stop.
        fix: what to do about it, without a full stop; empty where there is nothing to do.
    """

    severity: Severity
    code: str
    files: tuple[str, ...]
    text: str
    fix: str = ""


def only(severity: Severity, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return those of a severity."""
    return tuple(one for one in findings if one.severity == severity)


def printable(name: str) -> str:
    """Return a file's name with an escape for each sign that a line or a page cannot hold."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name
    )
