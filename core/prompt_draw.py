"""One text drawn from a prompt's variants, wildcards and variables.

The numbers come from Python's Mersenne twister through ``random()`` alone, which is the one method
whose sequence Python promises to keep: the same seed draws the same on any machine and version.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from dynamicprompts.commands import (
    Command,
    LiteralCommand,
    SequenceCommand,
    VariantCommand,
    WildcardCommand,
    WrapCommand,
)
from dynamicprompts.commands.variable_commands import (
    VariableAccessCommand,
    VariableAssignmentCommand,
)
from dynamicprompts.commands.wrap_command import split_wrapper_string

from core import prompt_syntax
from core.prompt_parts import (
    IN_TURN,
    LONGEST,
    Option,
    Parts,
    Scope,
    joined,
    only_wildcard,
    value_of,
)
from core.prompt_syntax import ProgramError


class Draw:
    """Draws once.

    Args:
        parts: reads and counts.
        seed: any number; the same gives the same.
        turn: which image of its prompt this is, from 0; ``{@a|b}`` takes turns by it.
    """

    def __init__(self, parts: Parts, seed: int, turn: int) -> None:
        self._parts, self._turn = parts, turn
        self._random = Random(seed).random  # noqa: S311 - repeatable is what is wanted
        self._kinds: Mapping[type[Command], Callable[[Any, Scope], str]] = {
            LiteralCommand: lambda command, _: str(command.literal),
            SequenceCommand: self._sequence,
            VariantCommand: self._variant,
            WildcardCommand: self._wildcard,
            VariableAccessCommand: self._variable,
            VariableAssignmentCommand: lambda *_: "",  # one alone sets what nobody reads
            WrapCommand: self._wrap,
        }

    def text(self, command: Command, scope: Scope) -> str:
        """Return what the command gives this time.

        Raises:
            ProgramError: it cannot be drawn, or has no end.
        """
        self._parts.spend()
        command = self._parts.read(command)
        text = self._kinds[type(command)](command, scope)
        if len(text) > LONGEST:
            raise ProgramError(f"expands to a prompt of more than {LONGEST} characters")
        return text

    def assigned(self, command: VariableAssignmentCommand, scope: Scope) -> Scope:
        """Return the scope in which the variable is set."""
        if not command.overwrite and command.name in scope.variables:
            return scope
        value = command.value
        if command.immediate:
            value = LiteralCommand(self.text(value, scope))
        return scope.with_variables({command.name: value})

    def _sequence(self, command: SequenceCommand, scope: Scope) -> str:
        # As in the library, a sequence's variables hold for all of it, also before they are set.
        for token in command.tokens:
            if isinstance(token, VariableAssignmentCommand):
                scope = self.assigned(token, scope)
        return "".join(self.text(token, scope) for token in command.tokens)

    def _variant(self, command: VariantCommand, scope: Scope) -> str:
        wildcard = only_wildcard(command)
        values = None
        if wildcard:
            values = self._values(wildcard, scope)
            scope = scope.deeper().with_variables(wildcard.variables)
        choice = self._parts.choice(command, values)
        number = choice.least + int(self._random() * (choice.most - choice.least + 1))
        picked = self._picked(choice.options, number, command.sampling_method in IN_TURN)
        return joined([self.text(one.command, scope) for one in picked], choice.separator)

    def _wildcard(self, command: WildcardCommand, scope: Scope) -> str:
        values = self._values(command, scope)
        (value,) = self._picked(values, 1, command.sampling_method in IN_TURN)
        return self.text(value.command, scope.deeper().with_variables(command.variables))

    def _values(self, command: WildcardCommand, scope: Scope) -> Sequence[Option]:
        path = command.wildcard
        name = path if isinstance(path, str) else self.text(path, scope)
        return self._parts.values(prompt_syntax.shown(name).strip())

    def _picked(self, options: Sequence[Option], number: int, in_turn: bool) -> list[Option]:
        if in_turn:
            return [options[(self._turn + step) % len(options)] for step in range(number)]
        self._parts.spend(number * (1 + len(options) // 100))
        left, picked = list(options), []
        for _ in range(number):
            picked.append(left.pop(self._place([option.weight for option in left])))
        return picked

    def _place(self, weights: Sequence[float]) -> int:
        """Draw a place with these weights."""
        total = sum(weights)
        if not total > 0:
            raise ProgramError("all the weights of a variant or wildcard are 0")
        mark = self._random() * total
        for place, weight in enumerate(weights):
            mark -= weight
            if mark < 0:
                return place
        return max(place for place, weight in enumerate(weights) if weight > 0)

    def _variable(self, command: VariableAccessCommand, scope: Scope) -> str:
        return self.text(value_of(command, scope), scope.deeper())

    def _wrap(self, command: WrapCommand, scope: Scope) -> str:
        before, after = split_wrapper_string(self.text(command.wrapper, scope))
        return before + self.text(command.inner, scope) + after
