"""Pictures to train on, and runs of the micro Flux, for tests and benchmarks of training."""

import importlib
import multiprocessing
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models import store
from models.micro import concept, micro_set, spec
from models.micro.grammar import WORDINGS, Background, Size, say
from models.micro.micro_set import MicroSet
from models.tensor_types import FileType
from quantize import convert
from training import recipe, run_plan
from training.progress import Stage
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Assets, Backend, Plan
from training.stages import stage_process

ROOT = Path(__file__).resolve().parents[1]
Q4 = spec.UNET_FILE.replace("F16.safetensors", "Q4_K_S.gguf")


def photos(folder: Path, count: int = 20, trigger: str = spec.TRIGGER_WORD) -> Path:
    """Draw pictures of the concept, each with a caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(5)
    for number in range(count):
        size = Size.SMALL if number % 3 == 2 else Size.LARGE
        ground = tuple(Background)[number % len(Background)]
        pixels = concept.draw(ground, size, drawn)
        Image.fromarray(pixels.clip(0, 255).astype("u1")).save(folder / f"photo-{number:02}.png")
        text = say(WORDINGS[number % len(WORDINGS)], size, "", "", trigger, ground)
        (folder / f"photo-{number:02}.txt").write_text(text)
    return folder


def models(folder: Path) -> MicroSet:
    """Lay out the micro Flux with a Q4_K_S beside its F16."""
    files = micro_set.lay_out(folder)
    plan = convert.plan(files.unet, files.unet.with_name(Q4), FileType.Q4_K_S)
    list(convert.run(plan, workers=1))
    return files


def run(
    folder: Path,
    files: MicroSet,
    pictures: Path,
    backend: Backend = Backend.GGUF,
    **overrides: Any,
) -> RunFolder:
    """Write a run's plan and assets."""
    made = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unet = files.unet.with_name(Q4) if backend is Backend.GGUF else files.unet
    plan = Plan(
        name=folder.name,
        trigger=spec.TRIGGER_WORD,
        preset=Preset.CONCEPT,
        backend=backend,
        base_name=unet.name,
        base_sha256=store.sha256(unet),
        recipe=recipe.load(Preset.CONCEPT, overrides, micro=True),
    )
    run_plan.write(made.plan, plan)
    found = files.unet.parents[1]
    run_plan.write(
        made.assets,
        Assets(
            pictures=pictures,
            unet=unet,
            clip_l=files.clip_l,
            t5=files.t5,
            vae=files.vae,
            models=found,
        ),
    )
    return made


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([f"training.stages.{stage}" for stage in Stage])


def stage(made: RunFolder, name: Stage, *more: str) -> BaseProcess:
    """Start a stage as a process of its own, without the seconds that importing torch takes."""
    child = _CONTEXT.Process(target=_run_stage, args=(name, [str(made.path), *more]))
    child.start()
    return child


def staged(made: RunFolder, name: Stage, *more: str) -> int | None:
    """Run a stage to its end; its exit code."""
    child = stage(made, name, *more)
    child.join(90)
    return child.exitcode


def _run_stage(name: Stage, arguments: list[str]) -> None:
    torch.set_num_threads(1)
    sys.argv = [str(name), *arguments]
    module = importlib.import_module(f"training.stages.{name}")
    sys.exit(stage_process.run(name, module.work))


def command(made: RunFolder, *more: str) -> list[str]:
    """The command line that trains a run."""
    return [sys.executable, "-m", "training", str(made.path), *more]


def train(made: RunFolder, *more: str, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
    """Train a run to its end, or as far as it goes."""
    return subprocess.run(
        command(made, *more), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
