"""A user of Kaggle for tests: a home of its own, a token that only the stand-in knows, a run."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.kaggle_stand_in.kaggle_site import TOKEN, DataSet, Runner
from tests.kaggle_stand_in.server import StandIn, standing_in
from training import recipe, run_plan
from training.kaggle.account import Account
from training.kaggle.cloud_package import package
from training.kaggle.patience import Patience
from training.kaggle.values import Contents, Package
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend, Plan

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
BRIEF = Patience(pauses=(0.0, 0.0, 0.0, 0.0), connect=5.0, silence=5.0, sleep=lambda _: None)


def at_home(monkeypatch: pytest.MonkeyPatch, home: Path, token: str = TOKEN) -> None:
    """Leave nothing of the real user, and no way to the real Kaggle."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "kaggle"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tempfile, "tempdir", str(home))  # notes of uploads that were cut
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)


@contextmanager
def kaggle(
    monkeypatch: pytest.MonkeyPatch, folder: Path, runner: Runner | None = None
) -> Iterator[tuple[StandIn, Account]]:
    """Serve a stand-in, and sign in to it."""
    at_home(monkeypatch, folder / "home")
    with standing_in(folder / "kaggle", runner) as stand_in:
        yield stand_in, Account.open(stand_in.endpoint, BRIEF)


def plan(name: str = "ohwx") -> Plan:
    """Return a plan for the micro Flux."""
    return Plan(
        name=name,
        trigger="ohwx",
        preset=Preset.CHARACTER,
        backend=Backend.GGUF,
        base_name="base.gguf",
        base_sha256="",
        recipe=recipe.load(Preset.CHARACTER, {"steps": 3}, micro=True),
    )


def a_run(folder: Path) -> RunFolder:
    """Make a run's folder with its plan."""
    run = RunFolder(folder / "ohwx-1")
    run_plan.write(run.plan, plan())
    return run


def photos(folder: Path, count: int = 3) -> Path:
    """Draw pictures, the first with a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (32, 32), (number * 40, 90, 200)).save(folder / f"photo {number}.png")
    (folder / "photo 0.txt").write_text("a [trigger] in the rain")
    return folder


def a_package(folder: Path, notebook: str = NOTEBOOK) -> tuple[RunFolder, Package]:
    """Make a run and what goes to Kaggle for it."""
    run = a_run(folder)
    contents = Contents(photos(folder / "photos"), lambda _: notebook)
    return run, package(run, "someone", folder / "work", contents)


def ready(stand_in: StandIn, made: Package) -> None:
    """Have the data set there without uploading it."""
    files = {path.name: path for path in made.dataset.iterdir()}
    slug = made.dataset_slug
    stand_in.site.datasets[slug] = DataSet(slug, slug, private=True, versions=[files], asked=99)
