"""The values that a training will use, and where each comes from: preset, micro table, or flag."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from training import recipe
from training.recipe import Recipe
from training.run_plan import Plan


class Origin(StrEnum):
    """Where a value comes from."""

    PRESET = "preset"
    MICRO = "micro"  # the preset's table for the small Flux
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a recipe.

    Attributes:
        name: as in the recipe.
        told: as it would be written.
        origin: where it comes from.
    """

    name: str
    told: str
    origin: Origin


def values(plan: Plan, changed: Collection[str], *, is_micro: bool) -> list[Value]:
    """Return all values of a plan's recipe.

    Args:
        plan: whose.
        changed: names of those that flags gave.
        is_micro: whether the base is the small Flux.
    """
    micro = _micro_names(plan) if is_micro else frozenset()

    def origin(name: str) -> Origin:
        if name in changed:
            return Origin.FLAG
        return Origin.MICRO if name in micro else Origin.PRESET

    told = plan.recipe.model_dump(mode="json")
    return [Value(name, _told(told[name]), origin(name)) for name in Recipe.model_fields]


def _micro_names(plan: Plan) -> frozenset[str]:
    path = recipe.PRESETS / f"{plan.preset}.toml"
    return frozenset(tomllib.loads(path.read_text(encoding="utf-8")).get("micro", {}))


def _told(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
