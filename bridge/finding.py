"""What the doctor found: one value for every check, whoever makes it. Nothing is checked here."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is, best first.

    ``problem``: jobs fail or cannot start. ``warning``: they may, or it costs time or pictures.
    ``info``: worth knowing, nothing to do.
    """

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check.

    Attributes:
        level: how bad it is.
        name: what was looked at, dotted: group, then subject; stays the same between versions.
        what: what is so.
        why: why it matters; may be empty for ``ok``.
        fix: the exact thing to type or to set; empty where nothing is to be done.
    """

    level: Level
    name: str
    what: str
    why: str = ""
    fix: str = ""

    @property
    def group(self) -> str:
        """The first part of the name: findings of one group are shown together."""
        return self.name.split(".", 1)[0]

    def as_dict(self) -> dict[str, str]:
        """Return the fields, for JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


def fine(name: str, what: str, why: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, name, what, why)


def note(name: str, what: str, why: str = "", fix: str = "") -> Finding:
    """Return something worth knowing."""
    return Finding(Level.INFO, name, what, why, fix)


def warning(name: str, what: str, why: str, fix: str) -> Finding:
    """Return something that may go wrong, with its cure."""
    return Finding(Level.WARNING, name, what, why, fix)


def problem(name: str, what: str, why: str, fix: str) -> Finding:
    """Return something that keeps jobs from being done, with its cure."""
    return Finding(Level.PROBLEM, name, what, why, fix)
