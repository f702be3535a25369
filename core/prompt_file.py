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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

MAX_BYTES = 1_000_000
MAX_IMAGES = 10_000  # by one file
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Side = Annotated[int, Field(ge=16, le=8192, multiple_of=16)]


class PromptError(Exception):
    """A prompt file that cannot be used.

    Attributes:
        file: the user's file name.
        line: 1-based, 0 when the whole file is meant.
        why: what is wrong, and what would be right.
    """

    def __init__(self, file: str, line: int, why: str) -> None:
        """Keep the parts; the sentence is built when it is shown."""
        super().__init__(file, line, why)
        self.file, self.line, self.why = file, line, why

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.why}"


class LoraWish(BaseModel):
    """A LoRA by file name; ``strength`` falls back to the pair's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    strength: Annotated[float, Field(ge=-10, le=10)] | None = None


class Wish(BaseModel):
    """What a prompt file says about one prompt; ``None`` where it says nothing.

    ``lora`` is ``()`` for "none, please" and ``None`` for "as usual". ``count`` asks for that
    many images with consecutive seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    negative: str = ""
    width: Side | None = None
    height: Side | None = None
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance: Annotated[float, Field(ge=0, le=100)] | None = None
    cfg: Annotated[float, Field(gt=0, le=100)] | None = None
    seed: Seed | None = None
    count: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    lora: tuple[LoraWish, ...] | None = None
    workflow: str | None = None

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty")
        return prompt.strip()

    @field_validator("lora", mode="before")
    @classmethod
    def _as_list(cls, lora: Any) -> Any:
        """Accept a name, a table, a list of either, or none/false for no LoRA at all."""
        if lora in (None, False, "", "none"):
            return ()
        entries = lora if isinstance(lora, list | tuple) else [lora]
        if not all(isinstance(entry, str | dict | LoraWish) for entry in entries):
            raise ValueError("expected a name, {name: ..., strength: ...}, a list of them, or none")
        return [{"name": entry} if isinstance(entry, str) else entry for entry in entries]


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
    reader = _READERS[PurePath(file).suffix.lower()]
    wishes = [_wish(file, text, table) for table in reader(file, text)]
    if not wishes:
        raise PromptError(file, 0, "holds no prompt")
    if sum(wish.count for wish in wishes) > MAX_IMAGES:
        raise PromptError(file, 0, f"asks for more than {MAX_IMAGES} images; split it")
    return wishes


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


def _json(file: str, text: str) -> Iterator[_Table]:
    try:
        return _spread(file, json.loads(text))
    except json.JSONDecodeError as error:
        raise PromptError(file, error.lineno, f"is not JSON: {error.msg}") from error
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
        return Wish.model_validate(dict(table.values))
    except ValidationError as error:
        problem = error.errors()[0]
        key = str(problem["loc"][0]) if problem["loc"] else ""
        line = _line_of(text, key, problem["input"]) or table.line
        raise PromptError(file, line, _reason(key, problem)) from error


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


def _line_of(text: str, key: str, value: Any) -> int:
    """Find the line that gives ``key`` this value, else the first that gives it any; 0 if none.

    The parsers keep no positions, so the text is searched: wrong only where one key stands
    several times with the same bad value, and then the first is as good.
    """
    pattern = re.compile(rf"[\"']?{re.escape(key)}[\"']?\s*[:=]\s*(.*)") if key else None
    given = [
        (number, found[1])
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern and (found := pattern.search(line))
    ]
    told = reprlib.repr(value).strip("'\"")
    exact = [number for number, rest in given if told in rest]
    return exact[0] if exact else given[0][0] if given else 0
