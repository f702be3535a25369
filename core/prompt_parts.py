"""Prompts and wildcard values as the dynamicprompts library reads them, within bounds.

The library's grammar turns a text into commands; drawing from them (``core.prompt_draw``) and
listing all they give (``core.prompt_combinations``) are our own, because the library's samplers
have no bounds (eight short lines can ask for a gigabyte), cannot tell how many combinations there
are without making them, and take the wrong weight away when several are drawn. Loads pyparsing:
11 MB and a tenth of a second, so only prompts that need it bring it in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyparsing
from dynamicprompts.commands import (
    Command,
    LiteralCommand,
    SequenceCommand,
    VariantCommand,
    WildcardCommand,
)
from dynamicprompts.commands.variable_commands import VariableAccessCommand
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse

from core import prompt_syntax
from core.prompt_syntax import Piece, ProgramError
from core.wildcards import Wildcards

MOST_STEPS = 500_000  # commands looked at for one prompt file
MOST_MARKS = 10_000  # signs of syntax in one prompt file: the grammar takes some 10 s for them
LONGEST = 20_000  # characters of one prompt
DEEPEST = 20  # wildcards and variables within one another
IN_TURN = (SamplingMethod.CYCLICAL, SamplingMethod.COMBINATORIAL)


@dataclass(frozen=True, slots=True)
class Option:
    """One of several, with the weight it is drawn with."""

    command: Command
    weight: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Between how many and how many of the options are taken, and what joins them."""

    options: Sequence[Option]
    least: int
    most: int
    separator: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Variables at one place of a prompt.

    Attributes:
        variables: what each stands for.
        fixed: those that a grid sets, which the prompt cannot change.
        depth: wildcards and variables around this place.
    """

    variables: Mapping[str, Command] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    depth: int = 0

    def deeper(self) -> "Scope":
        """Enter a wildcard's value or a variable's.

        Raises:
            ProgramError: they lead in a circle, or might as well.
        """
        if self.depth >= DEEPEST:
            raise ProgramError(
                f"its wildcards or variables stand for one another more than {DEEPEST} deep; "
                "does one hold itself?"
            )
        return replace(self, depth=self.depth + 1)

    def with_variables(self, more: Mapping[str, Command]) -> "Scope":
        """Return the scope with these set too, but for the fixed ones."""
        kept = {name: value for name, value in more.items() if name not in self.fixed}
        return replace(self, variables={**self.variables, **kept}) if kept else self


class Parts:
    """Reads the texts of one prompt file; what was read is kept, and all work is counted.

    Args:
        wildcards: where wildcards are looked up, or none at all.
    """

    def __init__(self, wildcards: Wildcards | None) -> None:
        self._wildcards = wildcards
        self._commands: dict[str, Command] = {}
        self._parsed: dict[str, Command] = {}
        self._values: dict[str, Sequence[Option]] = {}
        self._steps = self._marks = 0

    def spend(self, steps: int = 1) -> None:
        """Count work.

        Raises:
            ProgramError: it is more than any sane prompt file takes.
        """
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise ProgramError(
                f"expands to too much: more than {MOST_STEPS} steps of drawing for one file"
            )

    def command(self, text: str) -> Command:
        """Read a prompt or a wildcard's value.

        Raises:
            ProgramError: its syntax is wrong, or the file holds too much of it.
        """
        if text not in self._commands:
            found = prompt_syntax.marked(text)
            self._commands[text] = (
                self._joined(found.pieces) if found else LiteralCommand(prompt_syntax.hidden(text))
            )
        return self._commands[text]

    def _joined(self, pieces: Sequence[Piece]) -> Command:
        """Read a prompt piece by piece: the same variant in many prompts is parsed once."""
        tokens: list[Command] = []
        for piece in pieces:
            read = self._piece(piece) if piece.marks else LiteralCommand(piece.text)
            tokens += read.tokens if isinstance(read, SequenceCommand) else [read]
        return tokens[0] if len(tokens) == 1 else SequenceCommand(tokens)

    def _piece(self, piece: Piece) -> Command:
        if piece.text not in self._parsed:
            self._marks += piece.marks
            if self._marks > MOST_MARKS:
                raise ProgramError(
                    f"the file and its wildcards hold more than {MOST_MARKS} different variants; "
                    "split it"
                )
            self._parsed[piece.text] = _parsed(piece.text)
        return self._parsed[piece.text]

    def values(self, name: str) -> Sequence[Option]:
        """Return what a wildcard may stand for.

        Raises:
            ProgramError: there is no such wildcard.
        """
        if name not in self._values:
            if self._wildcards is None:
                raise ProgramError(f"uses the wildcard {name}, and there is no folder for them")
            found = self._wildcards.values(name)
            self.spend(len(found))
            self._values[name] = [Option(_Unread(text), weight) for text, weight in found]
        return self._values[name]

    def read(self, command: Command) -> Command:
        """Read a wildcard's value when it is its turn; other commands are read already."""
        return self.command(command.text) if isinstance(command, _Unread) else command

    def choice(self, command: VariantCommand, values: Sequence[Option] | None) -> Choice:
        """Return a variant's options and how many are taken.

        Args:
            command: the variant.
            values: of the wildcard, where the variant is one wildcard alone: then the range
                counts its values.
        """
        options = values
        if options is None:
            options = [Option(one.value, one.weight) for one in command.variants]
        least, most = (min(bound, len(options)) for bound in (command.min_bound, command.max_bound))
        return Choice(options, least, most, command.separator)


@dataclass(frozen=True)
class _Unread(Command):
    """A wildcard's value that nobody has drawn yet; most of a long list never are."""

    text: str
    sampling_method = None


def only_wildcard(command: VariantCommand) -> WildcardCommand | None:
    """Return the wildcard of ``{2$$__name__}``, whose values are what is counted."""
    first = command.variants[0].value if len(command.variants) == 1 else None
    return first if isinstance(first, WildcardCommand) else None


def value_of(command: VariableAccessCommand, scope: Scope) -> Command:
    """Return what a variable stands for here.

    Raises:
        ProgramError: nothing was ever said about it.
    """
    value = scope.variables.get(command.name, command.default)
    if value is None:
        raise ProgramError(
            f"the variable {command.name} is not set; write ${{{command.name}=...}} before it, "
            f"${{{command.name}:...}} for a default, or \\${{ for a text that means itself"
        )
    return value


def joined(texts: Sequence[str], separator: str) -> str:
    """Join what was taken, as the library does: nothing hangs over where an end is empty."""
    text = separator.join(texts)
    if len(texts) < 2 or not separator:
        return text
    return text.removeprefix(separator).removesuffix(separator)


def _parsed(text: str) -> Command:
    try:
        return parse(text)
    except pyparsing.ParseBaseException as error:
        near = prompt_syntax.shown(text[error.loc : error.loc + 30]).strip()
        raise ProgramError(
            f"its syntax is not understood near {near!r}; a backslash before a brace makes it an "
            "ordinary one, expand: off all of them"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProgramError("its syntax is not understood; expand: off takes it as it is") from error
