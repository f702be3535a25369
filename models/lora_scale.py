"""The scale that a LoRA's metadata state: diffusers' `lora_adapter_metadata`.

A JSON text that holds peft's LoraConfig, each key behind `transformer.`. diffusers computes the
scale from it as peft does: alpha / r, or alpha / sqrt(r) with use_rslora, both by module where a
pattern names it. ComfyUI never reads it, so it draws such a file with a scale of 1.

peft takes patterns as regular expressions. Here they are names or ends of names, which is all that
diffusers writes; an expression from a stranger's file is never run.
Sources: diffusers 0.42.1, loaders/peft.py; peft, utils/other.py, get_pattern_key().
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import ModelError

KEY = "lora_adapter_metadata"
_PREFIX = "transformer."
_NAME = re.compile(r"\^?([A-Za-z0-9_.\\]+)\$?")


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the metadata say of the scale.

    Attributes:
        alpha: for all modules that no pattern names.
        rank: the same.
        root: the scale is alpha / sqrt(rank).
        alphas: alpha by pattern.
        ranks: rank by pattern.
    """

    alpha: float
    rank: float
    root: bool = False
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, float] = field(default_factory=dict)

    def scale(self, module: str) -> float:
        """The scale of a diffusers module, such as transformer_blocks.0.attn.to_q."""
        rank = _by_pattern(self.ranks, module, self.rank)
        alpha = _by_pattern(self.alphas, module, self.alpha)
        return alpha / math.sqrt(rank) if self.root else alpha / rank


def read(metadata: Mapping[str, str]) -> Adapter | None:
    """The adapter that the metadata describe; None if they describe none for the transformer.

    Raises:
        ModelError: they cannot be understood, so the scale cannot be known.
    """
    if KEY not in metadata:
        return None
    try:
        table = json.loads(metadata[KEY])
        entries = {
            key.removeprefix(_PREFIX): value
            for key, value in table.items()
            if key.startswith(_PREFIX)
        }
        return _adapter(entries) if "lora_alpha" in entries else None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"the LoRA's {KEY} cannot be understood, so its scale is not known",
            why=str(error)[:200] or type(error).__name__,
            fix="Save it again with diffusers, or take that entry out of the file's metadata",
        ) from error


def _adapter(entries: Mapping[str, Any]) -> Adapter:
    return Adapter(
        alpha=_number(entries["lora_alpha"]),
        rank=_positive(entries["r"]),
        root=bool(entries.get("use_rslora")),
        alphas=_patterns(entries.get("alpha_pattern") or {}, _number),
        ranks=_patterns(entries.get("rank_pattern") or {}, _positive),
    )


def _patterns(table: Mapping[str, Any], number: Any) -> dict[str, float]:
    for pattern in table:
        if not _NAME.fullmatch(pattern):
            raise ValueError(f"the pattern {pattern!r} is no name of a module")
    return {pattern: number(value) for pattern, value in table.items()}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"a rank of {value!r} is impossible")
    return number


def _by_pattern(table: Mapping[str, float], module: str, default: float) -> float:
    """The first entry whose pattern is the module's name, or the end of it unless it has a ^."""
    for pattern, value in table.items():
        name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if module == name or (not pattern.startswith("^") and module.endswith(f".{name}")):
            return value
    return default
