"""Short ways to make trainings for tests of the `train` command, without a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from core.training_record import Phase, State, Training, Where
from training import progress, recipe, run_plan
from training.progress import Stage, Status
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend, Plan


def pictures(folder: Path, count: int = 4) -> Path:
    """Draw a few plain pictures with captions."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (64, 64), ("white", "gray", "black", "pink")[number % 4])
        place = (8 + number, 8, 40 + 2 * number, 40)
        ImageDraw.Draw(image).ellipse(place, fill="purple")
        image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a large ohwx, number {number}")
    return folder


def plan(**changes: Any) -> Plan:
    """Return a plan."""
    values = {
        "name": "ohwx",
        "trigger": "ohwx",
        "preset": Preset.CHARACTER,
        "backend": Backend.GGUF,
        "base_name": "base.gguf",
        "base_sha256": "",
        "recipe": recipe.load(Preset.CHARACTER, {}, micro=True),
    }
    return Plan.model_validate(values | changes)


def training(folder: Path, **changes: Any) -> Training:
    """Return a training with a plan in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    run_plan.write(RunFolder(folder).plan, plan())
    values: dict[str, Any] = {
        "id": "0000abcd",
        "name": "ohwx",
        "place": Where.LOCAL,
        "phase": Phase.VALIDATING,
        "state": State.STOPPED,
        "folder": folder,
        "pictures": "",
        "unet": Path("base.gguf"),
        "created": 1.0,
        "moved": 1.0,
    }
    return Training(**values | changes)


def stands(folder: Path, state: progress.State, step: int = 0, text: str = "") -> None:
    """Write a status as a trainer does."""
    status = Status(state=state, stage=Stage.TRAIN, step=step, steps=100, text=text)
    progress.write_status(RunFolder(folder).status, status)


Eventually = Callable[..., None]
