"""What a prompt file may say about one prompt: keys, ranges, and how a fault is told. Pure.

Knows neither file formats nor models: which of the things wished for exist is found out later.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

MAX_IMAGES = 10_000  # by one file
MAX_BATCH = 16
MAX_PRIORITY = 100
MOST_KEYS = 200  # in slots, or axes in a grid
DEEPEST = 20  # dots in the name of one
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Side = Annotated[int, Field(ge=16, le=8192, multiple_of=16)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Scalar = bool | int | float | str
Axis = tuple[str, tuple[Any, ...]]


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
        return f"{where}: {self.why}" if where else self.why


class Expand(StrEnum):
    """What becomes of variants and wildcards in a prompt."""

    RANDOM = "random"  # each image draws anew
    COMBINATORIAL = "combinatorial"  # one image for every combination
    OFF = "off"  # the prompt is taken as it stands


class LoraWish(BaseModel):
    """A LoRA by file name; ``strength`` falls back to the pair's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    strength: Annotated[float, Field(ge=-10, le=10)] | None = None


class Wish(BaseModel):
    """What a prompt file says about one prompt; ``None`` where it says nothing.

    ``lora`` is ``()`` for "none, please" and ``None`` for "as usual". ``count`` asks for that
    many images with consecutive seeds; with a ``grid``, for that many grids. ``slots`` names
    further inputs of the workflow, ``grid`` holds axes and values in the file's order.
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
    sampler: Name | None = None
    scheduler: Name | None = None
    denoise: Annotated[float, Field(gt=0, le=1)] | None = None
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    count: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    lora: tuple[LoraWish, ...] | None = None
    pair: Name | None = None
    workflow: str | None = None
    image: Name | None = None
    slots: Mapping[str, Scalar] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    expand: Expand = Expand.RANDOM
    grid: tuple[Axis, ...] = ()

    _place: tuple[str, int, str] = PrivateAttr(default=("", 0, ""))
    _strength: float | None = PrivateAttr(default=None)

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

    @field_validator("expand", mode="before")
    @classmethod
    def _off_is_a_word(cls, expand: Any) -> Any:
        """YAML reads a bare ``off`` as false."""
        return Expand.OFF if expand is False else expand

    @field_validator("slots", mode="before")
    @classmethod
    def _flat(cls, slots: Any) -> Any:
        """Accept ``25.steps`` and the nested tables that TOML makes of it when it is not quoted."""
        _need(isinstance(slots, Mapping), "expected names and values, such as {strength: 0.5}")
        flat = flattened(slots)
        for name, value in flat.items():
            _need(bool(name.strip()), "a name is empty")
            plain = isinstance(value, bool | int | float | str)
            _need(plain, f"{name} is a text, a number, true or false")
            endless = isinstance(value, float) and not math.isfinite(value)
            _need(not endless, f"{name} is no finite number")
        return flat

    @field_validator("grid", mode="before")
    @classmethod
    def _axes(cls, grid: Any) -> Any:
        """Accept a table of axes; the values are looked at by ``core.axes``."""
        if isinstance(grid, tuple):
            return grid
        _need(isinstance(grid, Mapping), "expected axes with their values, such as {seed: [1, 2]}")
        for name, values in (axes := flattened(grid)).items():
            listed = isinstance(values, list | tuple | str)
            _need(listed, f"{name} is a list of values, or a range such as 1..4")
        return tuple(
            (name, (values,) if isinstance(values, str) else tuple(values))
            for name, values in axes.items()
        )

    @property
    def where(self) -> tuple[str, int]:
        """File and line it stands in, as far as they are known."""
        file, line, text = self._place
        return file, line or line_of(text, "prompt", self.prompt)

    def where_of(self, key: str, value: str) -> tuple[str, int]:
        """File and line where a key has this value, else those of the wish itself."""
        file, line, text = self._place
        return file, line_of(text, key, value) or line

    def at(self, file: str, line: int, text: str) -> "Wish":
        """Return the wish with its place noted, for complaints that come later.

        Args:
            file: the user's name of it.
            line: 0 where it is only known to be in ``text``; it is looked for when it is needed.
            text: of the whole file.
        """
        placed = self.model_copy()
        placed._place = (file, line, text)
        return placed

    def like(self, other: "Wish") -> "Wish":
        """Return the wish with the other's place."""
        return self.at(*other._place)

    @property
    def strength(self) -> float | None:
        """Return what a grid sets the pair's LoRA to; no key of the file does."""
        return self._strength

    def with_strength(self, strength: float) -> "Wish":
        """Return the wish with all its LoRAs at this strength, the pair's too."""
        if self.lora is None:
            changed = self.model_copy()
            changed._strength = strength
            return changed
        loras = tuple(lora.model_copy(update={"strength": strength}) for lora in self.lora)
        return self.model_copy(update={"lora": loras})

    def given(self) -> dict[str, Any]:
        """Return what the file said, and only that, as a table that makes the same wish."""
        said = self.model_fields_set
        return {name: getattr(self, name) for name in type(self).model_fields if name in said}


def _need(holds: bool, why: str) -> None:
    """Refuse a value; pydantic wants a ValueError whatever is wrong with it."""
    if not holds:
        raise ValueError(why)


def line_of(text: str, key: str, value: Any) -> int:
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


def flattened(table: Mapping[Any, Any]) -> dict[str, Any]:
    """Join the keys of nested tables with dots: ``{lora: {strength: x}}`` is ``lora.strength``.

    Raises:
        ValueError: more than any sane file holds (YAML's aliases can make a small file endless).
    """
    flat: dict[str, Any] = {}
    waiting = list(table.items())[::-1]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{inner}", one) for inner, one in list(value.items())[::-1]]
        else:
            flat[str(key)] = value
        if len(flat) + len(waiting) > MOST_KEYS or str(key).count(".") > DEEPEST:
            raise ValueError(f"holds more than {MOST_KEYS} keys, or tables nested too deeply")
    return flat
