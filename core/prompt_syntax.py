"""Where a prompt uses the dynamicprompts syntax, and where its characters mean themselves. Pure.

The library's grammar has no escapes, and fails on a lone ``%``, ``$`` or ``{``; people write such
things. So a prompt is read here first: what is syntax stays, every other special character is
hidden behind a private code point, which the grammar takes for a letter, and shown again in the
text that comes out. A prompt without any syntax is none of the library's business at all.

Syntax is ``{a|b}``, ``{2$$a|b}``, ``{1-2$$ and $$a|b}``, ``__name__``, ``${name=...}``,
``${name}``, ``%{...$$...}``; braces around none of it are braces. In a prompt with syntax a
``#`` and ``//`` begin a comment up to the line's end (not in ``://``), ``/* */`` encloses one,
and a backslash before any of ``{ } | $ % _ # /`` takes its meaning away. The pass is linear, so
that no prompt is long enough to stop the folder. Knows no library and no wildcard files.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

MOST_MARKS = 1000  # pieces of syntax in one prompt; the grammar takes about a millisecond for each
DEEPEST = 16  # variants within variants
ESCAPABLE = "{}|$%_#/"
_HIDDEN = {char: chr(0x10FF00 + number) for number, char in enumerate(f"{ESCAPABLE}\t")}
_SHOWN = {ord(hidden): char for char, hidden in _HIDDEN.items()}
_HIDE = {ord(char): hidden for char, hidden in _HIDDEN.items()}

_SPECIAL = re.compile(r"__|[\\{}|$%#/_\t]")
_VARIABLE = re.compile(r"\$\{\s*[A-Za-z_-][\w-]*\s*(?:\?=|[=:}])", re.ASCII)
_RANGE = re.compile(r"\{\s*[~!@]?\s*(?:\d+\s*-?\s*\d*|-\s*\d+)\s*\$\$(?:[^${}\n]+\$\$)?")
_METHOD = re.compile(r"\{\s*[~!@]")


class ProgramError(Exception):
    """A prompt whose variants, wildcards or variables cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A prompt ready for the grammar.

    Attributes:
        pieces: its text from left to right, with everything hidden that is no syntax; a piece
            is all plain or one variant, wildcard or variable with what is in it.
        marks: how many signs of syntax it holds; 0 if only escapes.
    """

    pieces: tuple["Piece", ...]
    marks: int

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt; ``marks`` is 0 where it is plain."""

    text: str
    marks: int


def marked(text: str) -> Marked | None:
    """Read a prompt; ``None`` when it holds no syntax and is to be taken as it stands.

    Raises:
        ProgramError: a brace that is never closed, too much of it, or nested too deeply.
    """
    if "{" not in text and "__" not in text:
        return None
    found = _Scan(text).run()
    # Escapes count only where they hide something: a plain prompt keeps its backslashes.
    if not found.marks and not ("\\" in text and _Scan(_unescaped(text)).run().marks):
        return None
    if strange := next((char for char in text if ord(char) in _SHOWN), None):
        raise ProgramError(
            f"holds U+{ord(strange):X}, a private character that Vulcan needs itself"
        )
    return found


def shown(text: str) -> str:
    """Put back what :func:`marked` has hidden."""
    return text.translate(_SHOWN)


def hidden(text: str) -> str:
    """Hide every special character of a text that is to be taken as it stands."""
    return text.translate(_HIDE)


def _unescaped(text: str) -> str:
    return re.sub(rf"\\([{re.escape(ESCAPABLE)}])", r"\1", text)


class _Kind(Enum):
    VARIANT = auto()
    VARIABLE = auto()
    WRAP = auto()


@dataclass(slots=True)
class _Open:
    """A brace that waits for its closing one; ``at`` and ``out`` are its places in and out."""

    kind: _Kind
    at: int
    out: int
    own: bool = False  # holds a bar, a range or a wildcard of its own
    inner: bool = False  # holds other syntax


class _Scan:
    """One pass over a prompt."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._out: list[str] = []
        self._open: list[_Open] = []
        self._wildcard_end = -1
        self._last_end = text.rfind("*/")
        self._marks = self._deepest = 0
        self._pieces: list[Piece] = []
        self._piece_marks = 0  # marks before the piece that is being read

    def run(self) -> Marked:
        steps = {
            "__": self._underscores,
            "_": self._hide,
            "\\": self._backslash,
            "{": self._brace,
            "}": self._closing,
            "|": self._bar,
            "$": self._dollar,
            "%": self._percent,
            "#": self._hash,
            "/": self._slash,
            "\t": self._hide,
        }
        while found := _SPECIAL.search(self._text, self._at):
            self._out.append(self._text[self._at : found.start()])
            self._at = found.start()
            steps[found[0]]()
        self._out.append(self._text[self._at :])
        self._end()
        self._cut()
        return Marked(tuple(self._pieces), self._marks)

    def _cut(self) -> None:
        """End a piece here, between two things at the top of the prompt."""
        if text := "".join(self._out):
            self._pieces.append(Piece(text, self._marks - self._piece_marks))
        self._piece_marks = self._marks
        self._out.clear()

    def _emit(self, length: int, out: str | None = None) -> None:
        """Take this many characters as syntax, or put ``out`` in their place."""
        self._out.append(self._text[self._at : self._at + length] if out is None else out)
        self._at += length

    def _hide(self, length: int = 1) -> None:
        self._emit(length, hidden(self._text[self._at : self._at + length]))

    def _skip_to(self, end: int) -> None:
        self._at = len(self._text) if end < 0 else end

    def _mark(self) -> None:
        self._marks += 1
        if self._open:
            self._open[-1].inner = True

    def _backslash(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following and following in ESCAPABLE:
            self._emit(2, _HIDDEN[following])
        else:
            self._emit(1)

    def _hash(self) -> None:
        self._skip_to(self._text.find("\n", self._at))

    def _slash(self) -> None:
        text, at = self._text, self._at
        if at < self._wildcard_end:  # part of its path, as in __animals/*__
            self._hide()
        elif text.startswith("//", at) and text[at - 1 : at] != ":":
            self._skip_to(text.find("\n", at))
        elif text.startswith("/*", at) and at + 2 <= self._last_end:
            self._skip_to(text.find("*/", at + 2) + 2)
        else:
            self._hide(2 if text.startswith("//", at) else 1)

    def _underscores(self) -> None:
        if self._at == self._wildcard_end:
            self._emit(2)
            self._wildcard_end = -1
            if not self._open:
                self._cut()
            return
        end = self._text.find("__", self._at + 2)
        if end < 0 or not _is_wildcard(self._text[self._at + 2 : end]):
            self._hide()
            return
        if not self._open:
            self._cut()
        self._wildcard_end = end
        self._mark()
        self._emit(2)

    def _push(self, kind: _Kind, length: int, own: bool = False) -> None:
        if not self._open and self._wildcard_end < 0:
            self._cut()
        self._open.append(_Open(kind, self._at, len(self._out), own))
        self._deepest = max(self._deepest, len(self._open))
        self._emit(length)

    def _brace(self) -> None:
        if found := _RANGE.match(self._text, self._at):
            self._push(_Kind.VARIANT, len(found[0]), own=True)
        elif found := _METHOD.match(self._text, self._at):
            self._push(_Kind.VARIANT, len(found[0]))
        else:
            self._push(_Kind.VARIANT, 1)

    def _bar(self) -> None:
        if self._open and self._open[-1].kind is _Kind.VARIANT:
            self._open[-1].own = True
            self._marks += 1
            self._emit(1)
        else:
            self._hide()

    def _dollar(self) -> None:
        top = self._open[-1] if self._open else None
        if found := _VARIABLE.match(self._text, self._at):
            self._push(_Kind.VARIABLE, len(found[0]) - 1, own=True)
        elif (
            top and top.kind is _Kind.WRAP and not top.own and self._text.startswith("$$", self._at)
        ):
            top.own = True
            self._emit(2)
        else:
            self._hide()

    def _percent(self) -> None:
        if self._text.startswith("%{", self._at):
            self._push(_Kind.WRAP, 2)
        else:
            self._hide()

    def _closing(self) -> None:
        if not self._open:
            self._hide()
            return
        opened = self._open.pop()
        if opened.own or (opened.inner and opened.kind is _Kind.VARIANT):
            self._mark()
            self._emit(1)
        else:
            self._forget(opened)
            self._hide()
        if not self._open and self._wildcard_end < 0:
            self._cut()

    def _forget(self, opened: _Open) -> None:
        """Make an opening brace an ordinary one."""
        self._out[opened.out] = hidden(self._out[opened.out])
        if opened.inner and self._open:
            self._open[-1].inner = True

    def _end(self) -> None:
        for opened in self._open:
            if opened.own:
                near = self._text[opened.at : opened.at + 30].split("\n")[0]
                raise ProgramError(
                    f"the {{ at {near!r} is never closed; add the }}, or write \\{{ for a brace "
                    "that means itself"
                )
            self._forget(opened)
        if self._marks and self._deepest > DEEPEST:
            raise ProgramError(f"its variants are nested more than {DEEPEST} deep")
        if self._marks > MOST_MARKS:
            raise ProgramError(
                f"holds {self._marks} variants and wildcards, {MOST_MARKS} at most; put long "
                "lists into a wildcard file"
            )


def _is_wildcard(inner: str) -> bool:
    """Tell whether this stands between ``__`` and ``__`` as a wildcard's name would."""
    if not inner or inner[0] in "_ \t" or inner[-1] in " \t":
        return False
    if "\n" in inner or "#" in inner:
        return False
    depth = 0
    for char in inner:
        depth += (char == "{") - (char == "}")
        if depth < 0 or (char == "|" and depth == 0):
            return False
    return depth == 0
