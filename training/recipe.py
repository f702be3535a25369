"""Every number of a LoRA's training: a preset from ``configs/presets``, and what a flag changes.

A preset's values have their sources beside them, in its file. Knows no paths of pictures or
models, and no torch: the command line and a cloud's notebook read recipes, too.
"""

import difflib
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import TrainingError

PRESETS = Path(__file__).resolve().parents[1] / "configs" / "presets"


class Preset(StrEnum):
    """What a LoRA is to learn."""

    CHARACTER = "character"
    STYLE = "style"
    CONCEPT = "concept"


class Targets(StrEnum):
    """Which linear layers get a LoRA."""

    ALL = "all"  # attention, feed-forward, single blocks' projections; no modulation
    ATTENTION = "attention"


class Timesteps(StrEnum):
    """How the noise level of a step is drawn (training/timesteps.py)."""

    SIGMOID = "sigmoid"
    SHIFT = "shift"
    FLUX_SHIFT = "flux_shift"
    UNIFORM = "uniform"


class Optimizer(StrEnum):
    """What walks the loss down."""

    ADAMW = "adamw"
    ADAMW_8BIT = "adamw8bit"  # bitsandbytes, on a CUDA card


class Precision(StrEnum):
    """In what the frozen base computes; AUTO is what the device does best."""

    AUTO = "auto"
    FLOAT32 = "fp32"
    FLOAT16 = "fp16"
    BFLOAT16 = "bf16"


class Recipe(BaseModel):
    """How a LoRA is trained.

    Attributes:
        rank: of the LoRA; alpha is the same.
        targets: which layers.
        learning_rate: of the optimiser, after the warm-up.
        warmup: updates in which the rate climbs to it.
        decay: share of the updates, at the end, in which it falls in a straight line to 0.
        steps: updates of the optimiser.
        batch: pictures in one forward.
        accumulate: forwards for one update.
        resolution: sides in pixels; pictures are trained at areas of up to their squares.
        bucket_step: sides of buckets are multiples of it.
        timesteps: how noise levels are drawn.
        shift: for ``timesteps = "shift"``.
        guidance: embedded guidance that the unet is told.
        caption_dropout: share of the captions that are left empty.
        flip: also train mirrored pictures.
        weight_decay: of the optimiser.
        clip: longest the gradient may be.
        optimizer: which.
        precision: of the base.
        prior: pictures that the base draws itself before the training, and at which the LoRA is
            held to the base's own answers (DreamBooth's prior preservation); 0 for none.
        prior_share: share of the pictures of an update that are such.
        seed: of everything that is drawn at random.
        checkpoint_minutes: how much of the training a stop may cost.
        sample_every: updates between two sample pictures; 0 for none.
        samples: how many sample pictures.
        sample_steps: sampler steps of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[int, Field(ge=1, le=256)]
    targets: Targets
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[int, Field(ge=0)]
    decay: Annotated[float, Field(ge=0, le=1)]
    steps: Annotated[int, Field(ge=1, le=1_000_000)]
    batch: Annotated[int, Field(ge=1, le=256)]
    accumulate: Annotated[int, Field(ge=1, le=256)]
    resolution: tuple[Annotated[int, Field(ge=64, le=2048, multiple_of=16)], ...]
    bucket_step: Annotated[int, Field(ge=16, le=256, multiple_of=16)]
    timesteps: Timesteps
    shift: Annotated[float, Field(gt=0, le=20)]
    guidance: Annotated[float, Field(ge=0, le=100)]
    caption_dropout: Annotated[float, Field(ge=0, le=1)]
    flip: bool
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    clip: Annotated[float, Field(gt=0)]
    optimizer: Optimizer
    precision: Precision
    prior: Annotated[int, Field(ge=0, le=10_000)]
    prior_share: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    checkpoint_minutes: Annotated[float, Field(gt=0)]
    sample_every: Annotated[int, Field(ge=0)]
    samples: Annotated[int, Field(ge=0, le=64)]
    sample_steps: Annotated[int, Field(ge=1, le=200)]


def load(
    preset: Preset, overrides: Mapping[str, object], *, micro: bool = False, folder: Path = PRESETS
) -> Recipe:
    """Read a preset and apply overrides.

    Args:
        preset: which.
        overrides: recipe values by name, as flags give them: texts are read as TOML values.
        micro: the base is the micro Flux: its table ``[micro]`` goes over the other values.
        folder: where presets lie.

    Raises:
        TrainingError: the preset is damaged, or an override has no such name or value.
    """
    path = folder / f"{preset}.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError("the preset cannot be read", path=path, why=str(error)) from error
    values = {**tables.get("training", {}), **(tables.get("micro", {}) if micro else {})}
    given = {name: _value(value) for name, value in overrides.items()}
    _refuse_unknown(given)
    try:
        return Recipe(**{**values, **given})
    except ValidationError as error:
        raise _problem(error, given, path) from error


def _value(given: object) -> object:
    """Read a flag's text as TOML would; what is no TOML is the text itself."""
    if not isinstance(given, str):
        return given
    try:
        return tomllib.loads(f"value = {given}")["value"]
    except ValueError:
        return given


def _refuse_unknown(given: Mapping[str, object]) -> None:
    for name in given:
        if name not in Recipe.model_fields:
            near = difflib.get_close_matches(name, Recipe.model_fields, n=1)
            raise TrainingError(
                f"a recipe has no value {name!r}",
                why=f"did you mean {near[0]}?" if near else "",
                fix=f"Choose from: {', '.join(Recipe.model_fields)}",
            )


def _problem(error: ValidationError, given: Mapping[str, object], path: Path) -> TrainingError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    got: Any = first["input"]
    why = f"{first['msg']} (got {got!r})" if name in given or first["loc"] else str(error)
    where = None if name in given else path
    return TrainingError(f"the recipe's {name or 'values'} cannot be used", path=where, why=why)
