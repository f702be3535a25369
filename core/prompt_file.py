"""The text of a dropped file -> what it asks for. Pure.

Formats, all with the same keys::

    .txt            one prompt a line; empty lines and lines that start with # are skipped
    .md             front matter (YAML between two ``---`` lines), then the prompt
    .toml .json .yaml   one table; ``prompts`` may list several, each a text or a table

A table's keys above ``prompts`` hold for all of them. Errors name file, line and reason, since
their reader sits in front of an editor, not of a log.
"""

import difflib
import json
import re
import reprlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml
from pydantic import ValidationError

from core import axes, prompt_syntax
from core.axes import AxisError
from core.prompt_syntax import ProgramError
from core.wish import MAX_IMAGES, Expand, LoraWish, PromptError, Wish, line_of

__all__ = ["MAX_BYTES", "MAX_IMAGES", "LoraWish", "PromptError", "Wish", "parse", "priority"]

MAX_BYTES = 1_000_000
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of a file, with the line its first key may stand on."""

    values: Mapping[str, Any]
    line: int


def parse(file: str, content: bytes) -> list[Wish]:
    """Read a prompt file.

    Args:
        file: its name; the suffix chooses the format.
        content: its bytes, UTF-8, with or without a byte order mark.

    Raises:
        PromptError: not UTF-8, bad syntax, unknown key, value out of range, or no prompt at all.
    """
    text = _decode(file, content)
    reader = _READERS.get(PurePath(file).suffix.lower())
    if reader is None:
        raise PromptError(file, 0, f"is no prompt file; these are: {', '.join(_READERS)}")
    wishes = [_wish(file, text, table) for table in reader(file, text)]
    if not wishes:
        raise PromptError(file, 0, "holds no prompt")
    total = sum(wish.count * wish.batch * axes.count(wish) for wish in wishes)
    if total > MAX_IMAGES:
        raise PromptError(file, 0, f"asks for {total} images, {MAX_IMAGES} at most; split it")
    return wishes


def priority(wishes: Sequence[Wish]) -> int:
    """Return a file's priority: the highest of its prompts'. Higher goes first."""
    return max((wish.priority for wish in wishes), default=0)


def _decode(file: str, content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise PromptError(file, 0, f"is larger than {MAX_BYTES} bytes; is it a prompt file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PromptError(file, line, "is not UTF-8 text; save it as UTF-8") from error


def _lines(file: str, text: str) -> Iterator[_Table]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _Table({"prompt": line.strip()}, number)


def _front_matter(file: str, text: str) -> Iterator[_Table]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        yield _Table({"prompt": text}, 1)
        return
    end = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
    if end is None:
        raise PromptError(file, 1, "the front matter has no closing --- line")
    values = _read_yaml(file, "\n".join(lines[1:end]), above=1) or {}
    body = "\n".join(lines[end + 1 :]).strip()
    for table in _spread(file, values):
        given = {"prompt": body} if body else {}
        yield _Table({**given, **table.values}, end + 2 if body else 1)


def _toml(file: str, text: str) -> Iterator[_Table]:
    try:
        return _spread(file, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise PromptError(file, line, f"is not TOML: {error}") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise PromptError(file, 0, f"is not TOML that can be used: {error}") from error
    except RecursionError as error:
        raise PromptError(file, 0, "is nested too deeply") from error


def _json(file: str, text: str) -> Iterator[_Table]:
    try:
        return _spread(file, json.loads(text))
    except json.JSONDecodeError as error:
        raise PromptError(file, error.lineno, f"is not JSON: {error.msg}") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise PromptError(file, 0, f"is not JSON that can be used: {error}") from error
    except RecursionError as error:
        raise PromptError(file, 0, "is nested too deeply") from error


def _yaml(file: str, text: str) -> Iterator[_Table]:
    return _spread(file, _read_yaml(file, text))


_READERS = {
    ".txt": _lines,
    ".md": _front_matter,
    ".toml": _toml,
    ".json": _json,
    ".yaml": _yaml,
    ".yml": _yaml,
}


def _read_yaml(file: str, text: str, above: int = 0) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 + above if mark else 0
        why = getattr(error, "problem", None) or str(error)
        raise PromptError(file, line, f"is not YAML: {why}") from error
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        # PyYAML falls over impossible dates, endless numbers and tags such as !!int "".
        raise PromptError(file, 0, f"is not YAML that can be used: {error}") from error
    except RecursionError as error:
        raise PromptError(file, 0, "is nested too deeply") from error


def _spread(file: str, values: Any) -> Iterator[_Table]:
    """Yield one table per prompt, each with the keys that stand above the list."""
    if isinstance(values, list):
        values = {"prompts": values}
    if not isinstance(values, Mapping):
        raise PromptError(file, 1, "holds no table of settings with a prompt")
    if "prompts" not in values:
        return iter([_Table(values, 0)])
    listed = values["prompts"]
    if not isinstance(listed, list):
        raise PromptError(file, 0, "prompts is a list, of texts or of tables")
    shared = {key: value for key, value in values.items() if key != "prompts"}
    own = [{"prompt": entry} if isinstance(entry, str) else entry for entry in listed]
    if not all(isinstance(entry, Mapping) for entry in own):
        raise PromptError(file, 0, "each of prompts is a text or a table")
    return iter([_Table({**shared, **entry}, 0) for entry in own])


def _wish(file: str, text: str, table: _Table) -> Wish:
    try:
        wish = Wish.model_validate(dict(table.values))
        axes.check(wish)
        if wish.expand is not Expand.OFF:
            prompt_syntax.marked(wish.prompt)
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0]) if problem["loc"] else ""
        line = line_of(text, key, problem["input"]) or table.line
        raise PromptError(file, line, _reason(key, problem)) from error
    except AxisError as error:
        line = _line_of_axis(text, error.axis) or table.line
        raise PromptError(file, line, str(error)) from error
    except ProgramError as error:
        said = str(table.values["prompt"])
        line = table.line or line_of(text, "prompt", said)
        raise PromptError(file, line, f"prompt: {error}") from error
    if _HALF.search(text):
        _refuse_halves(file, wish)
    return wish.at(file, table.line, text)


def _refuse_halves(file: str, wish: Wish) -> None:
    """Refuse half of a surrogate pair, which JSON can write and nothing can store."""
    try:
        json.dumps(wish.model_dump(), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(str(error.object)[error.start]):x}"
        raise PromptError(file, 0, f"holds {half}, which is half a character") from error


def _line_of_axis(text: str, axis: str) -> int:
    """Find the line of an axis below that of the grid; 0 if it cannot be told."""
    lines = text.splitlines()
    grid = line_of(text, "grid", "")
    below = "\n".join([""] * (grid - 1) + lines[max(0, grid - 1) :])
    return line_of(below, axis, "") or grid


def _reason(key: str, problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        near = difflib.get_close_matches(name, Wish.model_fields, n=1)
        return f"unknown key {name}" + (f"; did you mean {near[0]}?" if near else "")
    if problem["type"] == "missing":
        return f"{'.'.join(map(str, problem['loc']))} is missing"
    why = problem["msg"].removeprefix("Value error, ")
    # Shortened: YAML's aliases can make a small file's value astronomically long.
    return f"{key}: {why} (got {reprlib.repr(problem['input'])})"
