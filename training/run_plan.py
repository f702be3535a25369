"""What one training is to make, and where on this machine its files are.

The plan (``run.json``) travels: it is the same on the laptop and in the cloud, and goes into the
LoRA's metadata. The assets (``assets.json``) are paths of one machine and never leave it.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models import store
from training.errors import TrainingError
from training.recipe import Preset, Recipe


class Backend(StrEnum):
    """How the frozen base lies in memory."""

    GGUF = "gguf"  # the very file that will render
    NF4 = "nf4"  # bitsandbytes' 4-bit, of an FP16/BF16 file
    BF16 = "bf16"  # as an FP16/BF16 file has it


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Plan(_Value):
    """What a training makes.

    Attributes:
        name: of the LoRA; its file is ``NAME.safetensors``.
        trigger: the word that calls what was learned.
        preset: what kind of thing that is.
        backend: how the base lies in memory.
        base_name: file name of the unet that it is trained on.
        base_sha256: of that file; empty where it is not known yet.
        recipe: all numbers.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    trigger: Annotated[str, Field(min_length=1, max_length=100)]
    preset: Preset
    backend: Backend
    base_name: str
    base_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    recipe: Recipe


class Assets(_Value):
    """Where a machine has what a training needs.

    Attributes:
        pictures: folder of pictures with captions.
        unet: the base.
        clip_l: text encoder.
        t5: text encoder.
        vae: the VAE.
        models: the models folder, whose ``tokenizers/`` are used if an encoder brings none.
    """

    pictures: Path
    unet: Path
    clip_l: Path
    t5: Path
    vae: Path
    models: Path


def write(path: Path, value: Plan | Assets) -> None:
    """Write a plan or assets.

    Raises:
        OSError: the disk refuses.
    """
    store.atomic_write(path, value.model_dump_json(indent=1).encode())


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    return Plan(**_checked(Plan, path))


def read_assets(path: Path) -> Assets:
    """Read assets.

    Raises:
        TrainingError: there are none, or they are damaged.
    """
    return Assets(**_checked(Assets, path))


def _checked(kind: type[_Value], path: Path) -> Mapping[str, Any]:
    try:
        return dict(kind.model_validate_json(path.read_bytes()))
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else _first(error)
        raise TrainingError("cannot be read", path=path, why=why or "") from error


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
