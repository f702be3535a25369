"""A grid's axes: which there are, what their values may be, and the wish of each cell. Pure.

A cell's wish is the file's own with exactly the cell's values put in, read and checked like any
other wish; so nothing of one cell can leak into another. Drawing the sheet is ``core.grid``'s.

Axes: ``seed steps guidance cfg width height sampler scheduler denoise pair lora lora.strength
prompt negative workflow``, ``slots.NAME`` for the workflow's own, ``var.NAME`` for a variable of
the prompt. Values are a list, or for numbers a range: ``1..4`` counts, ``0.4..1/4`` is four values
from 0.4 to 1, both included.
"""

import difflib
import itertools
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core import prompt_syntax
from core.prompt_syntax import ProgramError
from core.wish import MAX_IMAGES, Expand, LoraWish, Wish

STRENGTH = "lora.strength"
PLAIN = (
    *("seed", "steps", "guidance", "cfg", "width", "height", "sampler", "scheduler"),
    *("denoise", "pair", "lora", "prompt", "negative", "workflow"),
)
NOTHING = "none"
SLOT, VARIABLE = "slots.", "var."
_RANGE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*(?:/\s*(\d{1,5}))?\s*")
_NUMERIC = frozenset(("seed", "steps", "guidance", "cfg", "width", "height", "denoise", STRENGTH))


class AxisError(Exception):
    """An axis that no grid can have.

    Attributes:
        axis: its name.
        why: what is wrong with it.
    """

    def __init__(self, axis: str, why: str) -> None:
        """Keep the parts; the sentence is built when it is shown."""
        super().__init__(axis, why)
        self.axis, self.why = axis, why

    def __str__(self) -> str:
        return f"grid: {self.axis}: {self.why}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One place in a grid.

    Attributes:
        wish: what the file wishes, with the cell's values.
        where: axis and value, in the order of the axes; empty without a grid.
        variables: values for variables of the prompt.
    """

    wish: Wish
    where: tuple[tuple[str, str], ...]
    variables: Mapping[str, str]


def cells(wish: Wish) -> Iterator[Cell]:
    """Yield a wish's cells, row by row: the first axis runs fastest. Without a grid it is one.

    Raises:
        AxisError: an axis or value that cannot be.
    """
    if not wish.grid:
        yield Cell(wish, (), {})
        return
    axes = [(name, values_of(name, values)) for name, values in wish.grid]
    # product() runs the last factor fastest, so the axes go in backwards and come out again.
    for picked in itertools.product(*(values for _, values in reversed(axes))):
        values = dict(zip((name for name, _ in axes), reversed(picked), strict=True))
        yield Cell(
            wish=_with(wish, values),
            where=tuple((name, text_of(value)) for name, value in values.items()),
            variables={
                name.removeprefix(VARIABLE): value
                for name, value in values.items()
                if name.startswith(VARIABLE)
            },
        )


def count(wish: Wish) -> int:
    """Return how many cells there are, without making them.

    Raises:
        AxisError: an axis or value that cannot be.
    """
    total = 1
    for name, values in wish.grid:
        total *= len(values_of(name, values))
    return total


def check(wish: Wish) -> None:
    """Refuse axes that cannot be, before any cell is made.

    Raises:
        AxisError: unknown axis, no values, one twice, or one out of its range.
    """
    for name, given in wish.grid:
        _check_name(name)
        values = values_of(name, given)
        if not values:
            raise AxisError(name, "has no values")
        if len(values) > MAX_IMAGES:
            raise AxisError(name, f"has more than {MAX_IMAGES} values")
        seen: set[str] = set()
        for value in values:
            _check_value(wish, name, value)
            if (text := text_of(value)) in seen:
                raise AxisError(name, f"has {text} twice")
            seen.add(text)
    if wish.grid:
        _check_together(wish, [name for name, _ in wish.grid])


def values_of(name: str, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an axis's values, ranges counted out.

    Raises:
        AxisError: a range that runs backwards or has no end in sight.
    """
    if name not in _NUMERIC or not any(isinstance(value, str) for value in given):
        return given
    return tuple(value for entry in given for value in _counted_out(name, entry))


def text_of(value: Any) -> str:
    """Return a value as a label: short, and different for different values."""
    if isinstance(value, list | tuple):
        return " + ".join(map(text_of, value)) or NOTHING
    if isinstance(value, Mapping):
        return f"{value.get('name', '')} {text_of(value.get('strength', ''))}".strip()
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: NOTHING}[value]
    if value == "":
        return NOTHING
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _check_name(name: str) -> None:
    if name in (*PLAIN, STRENGTH):
        return
    if any(name.startswith(kind) and name != kind for kind in (SLOT, VARIABLE)):
        return
    near = difflib.get_close_matches(name, (*PLAIN, STRENGTH), n=1)
    known = ", ".join((*PLAIN, STRENGTH))
    hint = f"did you mean {near[0]}?" if near else f"there are {known}, slots.NAME and var.NAME"
    raise AxisError(name, f"is no axis; {hint}")


def _check_together(wish: Wish, names: Sequence[str]) -> None:
    """Refuse axes that would give the same picture several times, or that mean two things."""
    if STRENGTH in names and wish.lora == () and "lora" not in names:
        raise AxisError(STRENGTH, "needs a LoRA, and lora says none")
    drawn = wish.expand is not Expand.OFF and any(map(prompt_syntax.marked, _prompts(wish)))
    if "seed" in names and wish.count > 1 and not drawn:
        raise AxisError("seed", "gives the same pictures again when count is above 1")
    spoken = [name for name in names if name == "prompt" or name.startswith(VARIABLE)]
    if spoken and wish.expand is Expand.COMBINATORIAL:
        raise AxisError(spoken[0], "cannot stand beside expand: combinatorial")
    for name in names:
        if name.startswith(VARIABLE) and not (drawn and _may_use(wish, name)):
            known = f"${{{name.removeprefix(VARIABLE)}}}"
            raise AxisError(name, f"is a variable that the prompt does not use; write {known}")


def _prompts(wish: Wish) -> list[str]:
    listed = [str(value) for name, values in wish.grid if name == "prompt" for value in values]
    return [wish.prompt, *listed]


def _may_use(wish: Wish, name: str) -> bool:
    """Tell whether a prompt reads the variable, or has a wildcard whose file might."""
    read = re.compile(rf"\$\{{\s*{re.escape(name.removeprefix(VARIABLE))}\s*[:=?}}]")
    return any(read.search(text) or "__" in text for text in _prompts(wish))


def _check_value(wish: Wish, name: str, value: Any) -> None:
    told = f"{reprlib.repr(value)} cannot be a value"
    if name.startswith(VARIABLE):
        if not isinstance(value, str):
            raise AxisError(name, f"{told}; expected a text")
        return
    try:
        if name == "prompt" and wish.expand is not Expand.OFF:
            prompt_syntax.marked(str(value))
        _with(wish, {name: value})
    except ProgramError as error:
        raise AxisError(name, f"{told}; {error}") from error
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise AxisError(name, f"{told}; {why}") from error


def _with(wish: Wish, values: Mapping[str, Any]) -> Wish:
    """Return the wish with these values and without the grid; one at a time for strength."""
    table = {**wish.given(), "grid": ()}
    slots = dict(wish.slots)
    for name, value in values.items():
        if name in PLAIN:
            table[name] = value
        elif name.startswith(SLOT):
            slots[name.removeprefix(SLOT)] = value
    made = Wish.model_validate({**table, **({"slots": slots} if slots else {})})
    if STRENGTH in values:
        checked = LoraWish.model_validate({"name": "", "strength": values[STRENGTH]})
        made = made.with_strength(checked.strength or 0.0)
    return made.like(wish)


def _counted_out(name: str, entry: Any) -> Iterator[int | float]:
    if not isinstance(entry, str):
        yield entry
        return
    found = _RANGE.fullmatch(entry)
    if found is None:
        raise AxisError(name, f"{reprlib.repr(entry)} is no number and no range such as 1..4")
    first, last = _number(found[1]), _number(found[2])
    steps = int(found[3]) if found[3] else None
    whole = isinstance(first, int) and isinstance(last, int)
    if last < first or (steps is None and not whole) or (steps is not None and steps < 2):
        raise AxisError(
            name,
            f"{entry!r} is no range; write 1..4, or 0.4..1/4 for four values from 0.4 to 1",
        )
    if steps is None:
        if last - first >= MAX_IMAGES:
            raise AxisError(name, f"has more than {MAX_IMAGES} values")
        yield from range(int(first), int(last) + 1)
        return
    for number in range(steps):
        value = round(first + (last - first) * number / (steps - 1), 6)
        yield int(value) if whole and value == int(value) else value


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)
