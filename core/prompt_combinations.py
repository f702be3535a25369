"""All the texts that a prompt's variants, wildcards and variables give, and how many there are.

The number is computed, not counted out, so that a prompt that would give millions is refused with
its number before one of them is made. ``{~a|b}`` and ``{@a|b}`` are drawn instead, once per text.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dynamicprompts.enums import SamplingMethod

from core import prompt_syntax
from core.prompt_draw import Draw
from core.prompt_parts import (
    LONGEST,
    Choice,
    Option,
    Parts,
    Scope,
    joined,
    only_wildcard,
    value_of,
)
from core.prompt_syntax import ProgramError

HUGE = 10**15  # "this many or more"
DRAWN = (SamplingMethod.RANDOM, SamplingMethod.CYCLICAL)


class Combinations:
    """Counts and lists.

    Args:
        parts: reads and counts the work.
        draw: draws what is marked to be drawn.
    """

    def __init__(self, parts: Parts, draw: Draw) -> None:
        self._parts, self._draw = parts, draw
        self._counts: Mapping[type[Command], Callable[[Any, Scope], int]] = {
            LiteralCommand: lambda *_: 1,
            SequenceCommand: self._count_sequence,
            VariantCommand: self._count_variant,
            WildcardCommand: self._count_wildcard,
            VariableAccessCommand: lambda command, scope: self.count(
                value_of(command, scope), scope.deeper()
            ),
            VariableAssignmentCommand: lambda *_: 1,
            WrapCommand: lambda command, scope: (
                self.count(command.wrapper, scope) * self.count(command.inner, scope)
            ),
        }
        self._lists: Mapping[type[Command], Callable[[Any, Scope], Iterator[str]]] = {
            LiteralCommand: lambda command, _: iter([str(command.literal)]),
            SequenceCommand: self._list_sequence,
            VariantCommand: self._list_variant,
            WildcardCommand: self._list_wildcard,
            VariableAccessCommand: lambda command, scope: iter(
                self.texts(value_of(command, scope), scope.deeper())
            ),
            VariableAssignmentCommand: lambda *_: iter([""]),
            WrapCommand: self._list_wrap,
        }

    def count(self, command: Command, scope: Scope) -> int:
        """Return how many texts there are; ``HUGE`` stands for any larger number.

        Raises:
            ProgramError: a wildcard or variable is missing, or there is no end.
        """
        self._parts.spend()
        command = self._parts.read(command)
        if command.sampling_method in DRAWN:
            return 1
        return min(HUGE, self._counts[type(command)](command, scope))

    def texts(self, command: Command, scope: Scope) -> list[str]:
        """Return all the texts, the first variant changing slowest. Count them before.

        Raises:
            ProgramError: as ``count``, or a text is too long.
        """
        command = self._parts.read(command)
        if command.sampling_method in DRAWN:
            found = [self._draw.text(command, scope)]
        else:
            found = list(self._lists[type(command)](command, scope))
        self._parts.spend(1 + len(found))
        if found and max(map(len, found)) > LONGEST:
            raise ProgramError(f"expands to a prompt of more than {LONGEST} characters")
        return found

    def _count_sequence(self, command: SequenceCommand, scope: Scope) -> int:
        total = 0
        for inner in self._scopes(command.tokens, scope):
            total += math.prod(self.count(token, inner) for token in command.tokens)
        return total

    def _list_sequence(self, command: SequenceCommand, scope: Scope) -> Iterator[str]:
        for inner in self._scopes(command.tokens, scope):
            columns = [self._column(token, inner) for token in command.tokens]
            for row in itertools.product(*(texts for texts, _ in columns)):
                drawn = (
                    self._draw.text(token, inner) if again else text
                    for text, (_, again), token in zip(row, columns, command.tokens, strict=True)
                )
                yield "".join(drawn)

    def _column(self, token: Command, scope: Scope) -> tuple[list[str], bool]:
        """Return a token's texts, or that it is drawn anew for each row."""
        if token.sampling_method in DRAWN:
            return [""], True
        return self.texts(token, scope), False

    def _scopes(self, tokens: Sequence[Command], scope: Scope) -> Iterator[Scope]:
        """Yield a scope for every combination of values of the variables set at once (``=!``)."""
        place = next(
            (n for n, token in enumerate(tokens) if isinstance(token, VariableAssignmentCommand)),
            None,
        )
        if place is None:
            yield scope
            return
        setting, rest = tokens[place], tokens[place + 1 :]
        assert isinstance(setting, VariableAssignmentCommand)  # noqa: S101 - chosen as one above
        for inner in self._settings(setting, scope):
            yield from self._scopes(rest, inner)

    def _settings(self, setting: VariableAssignmentCommand, scope: Scope) -> Iterator[Scope]:
        fixed = setting.name in scope.fixed
        if fixed or (not setting.overwrite and setting.name in scope.variables):
            yield scope
        elif not setting.immediate:
            yield scope.with_variables({setting.name: setting.value})
        else:
            self._refuse_too_many(self.count(setting.value, scope))
            for text in self.texts(setting.value, scope):
                yield scope.with_variables({setting.name: LiteralCommand(text)})

    def _refuse_too_many(self, number: int) -> None:
        self._parts.spend(number)

    def _count_variant(self, command: VariantCommand, scope: Scope) -> int:
        total = 0
        for choice, inner in self._choices(command, scope):
            counts = [self.count(option.command, inner) for option in choice.options]
            total += self._selections(counts, choice.least, choice.most)
        return total

    def _selections(self, counts: Sequence[int], least: int, most: int) -> int:
        """Count the ordered selections: k! times the k-th elementary symmetric sum, for each k."""
        if most <= 1:
            return sum(counts) * (most == 1) + (least == 0)
        self._parts.spend(len(counts) * most // 10)
        sums = [1] + [0] * most
        for count in counts:
            for k in range(most, 0, -1):
                sums[k] = min(HUGE, sums[k] + sums[k - 1] * count)
        return sum(min(HUGE, math.factorial(min(k, 20)) * sums[k]) for k in range(least, most + 1))

    def _list_variant(self, command: VariantCommand, scope: Scope) -> Iterator[str]:
        for choice, inner in self._choices(command, scope):
            texts = [self.texts(option.command, inner) for option in choice.options]
            for number in range(choice.least, choice.most + 1):
                for picked in itertools.permutations(texts, number):
                    for row in itertools.product(*picked):
                        yield joined(row, choice.separator)

    def _choices(self, command: VariantCommand, scope: Scope) -> Iterator[tuple[Choice, Scope]]:
        """Yield a variant's options without the doubles; several times where a name varies."""
        wildcard = only_wildcard(command)
        if wildcard is None:
            yield self._parts.choice(command, _distinct(self._parts.choice(command, None))), scope
            return
        inner = scope.deeper().with_variables(wildcard.variables)
        for values in self._values(wildcard, scope):
            yield self._parts.choice(command, values), inner

    def _values(self, command: WildcardCommand, scope: Scope) -> Iterator[Sequence[Option]]:
        path = command.wildcard
        if isinstance(path, str):
            names = [path]
        else:
            self._refuse_too_many(self.count(path, scope))
            names = self.texts(path, scope)
        for name in names:
            values = self._parts.values(prompt_syntax.shown(name).strip())
            yield [value for value in values if value.weight > 0]

    def _count_wildcard(self, command: WildcardCommand, scope: Scope) -> int:
        inner = scope.deeper().with_variables(command.variables)
        return sum(
            self.count(value.command, inner)
            for values in self._values(command, scope)
            for value in values
        )

    def _list_wildcard(self, command: WildcardCommand, scope: Scope) -> Iterator[str]:
        inner = scope.deeper().with_variables(command.variables)
        for values in self._values(command, scope):
            for value in values:
                yield from self.texts(value.command, inner)

    def _list_wrap(self, command: WrapCommand, scope: Scope) -> Iterator[str]:
        inner = self.texts(command.inner, scope)
        for wrapper in self.texts(command.wrapper, scope):
            before, after = split_wrapper_string(wrapper)
            for text in inner:
                yield before + text + after


def _distinct(choice: Choice) -> list[Option]:
    """Return the options that differ: ``{a|a}`` is one, as in the library."""
    return list({repr(option.command): option for option in choice.options}.values())
