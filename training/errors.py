"""The one error that training raises for what a user can act on."""

from models.errors import ToldError


class TrainingError(ToldError):
    """A training cannot begin, or cannot go on."""
