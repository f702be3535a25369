"""A prompt with variants, wildcards or variables: what it gives, drawn or in all combinations.

The door to the three modules behind it; loaded only when a prompt uses the syntax.
"""

from collections.abc import Mapping, Sequence

from dynamicprompts.commands import Command

from core.prompt_combinations import HUGE, Combinations
from core.prompt_draw import Draw
from core.prompt_parts import Parts, Scope
from core.prompt_syntax import ProgramError, shown


class Programs:
    """The programs of one prompt file.

    Args:
        parts: reads the texts and bounds the work for all of them.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def draw(self, text: str, seed: int, turn: int, given: Mapping[str, str]) -> str:
        """Return one prompt.

        Args:
            text: the prompt as it was written.
            seed: the same gives the same.
            turn: which image of its prompt this is, from 0.
            given: variables that a grid sets.

        Raises:
            ProgramError: bad syntax, a missing wildcard or variable, no end, or nothing drawn.
        """
        try:
            drawn = Draw(self._parts, seed, turn).text(self._read(text), self._scope(given))
        except RecursionError as error:
            raise _endless() from error
        return _finished(drawn)

    def combinations(
        self, text: str, seed: int, given: Mapping[str, str], at_most: int
    ) -> Sequence[str]:
        """Return every prompt there is, without repeats, the first variant changing slowest.

        Raises:
            ProgramError: as ``draw``, or there are more than ``at_most``.
        """
        try:
            listed = self._combinations(text, seed, given, at_most)
        except RecursionError as error:
            raise _endless() from error
        return list(dict.fromkeys(_finished(one) for one in listed))

    def count(self, text: str, given: Mapping[str, str]) -> int:
        """Return how many combinations there are, repeats included.

        Raises:
            ProgramError: as ``draw``.
        """
        draw = Draw(self._parts, 0, 0)
        return Combinations(self._parts, draw).count(self._read(text), self._scope(given))

    def _combinations(
        self, text: str, seed: int, given: Mapping[str, str], at_most: int
    ) -> list[str]:
        number = self.count(text, given)
        if number > at_most:
            told = f"{number}" if number < HUGE else f"{HUGE} or more"
            raise ProgramError(f"has {told} combinations, and {at_most} images are left for it")
        draw = Draw(self._parts, seed, 0)
        return Combinations(self._parts, draw).texts(self._read(text), self._scope(given))

    def _read(self, text: str) -> Command:
        return self._parts.command(text)

    def _scope(self, given: Mapping[str, str]) -> Scope:
        commands = {name: self._parts.command(text) for name, text in given.items()}
        return Scope(commands, frozenset(commands))


def _finished(drawn: str) -> str:
    text = shown(drawn).strip()
    if not text:
        raise ProgramError("draws an empty prompt; is one of its variants empty?")
    # A wildcard file in JSON or YAML can hold half a character, which nothing can store.
    return text.encode(errors="replace").decode()


def _endless() -> ProgramError:
    return ProgramError("its wildcards, variables or variants are nested too deeply")
