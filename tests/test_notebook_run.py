"""The whole notebook, run headless on this processor: it really trains the micro Flux.

One training through three machines: the first is taken away after a checkpoint, the second goes on
from its output to the end, the third finds nothing left to do.
"""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from models import lora, store
from models.micro import micro_set, spec
from tests import training_kit
from tests.kaggle_stand_in.execute import notebook_runner
from tests.kaggle_stand_in.process_tree import kill_tree
from training import progress, recipe, run_plan
from training.kaggle import notebook
from training.progress import Happened, State
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend, Plan

SHORT = {"steps": 20, "batch": 2, "samples": 1, "sample_steps": 2, "prior": 0, "prior_share": 0.0}
TAKEN_AWAY = 90  # seconds: a checkpoint is there long before


@dataclass(frozen=True)
class Ran:
    """A notebook that was run: where its output is, and what it printed."""

    run: RunFolder
    log: str

    @property
    def working(self) -> Path:
        return self.run.path.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as the client uploads it: pictures and the small base, in one folder."""
    root = tmp_path_factory.mktemp("kaggle")
    data = root / "input" / "datasets" / "me" / "zork-data"
    training_kit.photos(data, 3)
    files = micro_set.place(micro_set.SHIPPED)
    for path in (files.unet, files.clip_l, files.t5, files.vae):
        shutil.copy(path, data / path.name)
    run_plan.write(data / "run.json", plan())
    return root


def plan(**changed: object) -> Plan:
    overrides = {**SHORT, "resolution": "[64]", "checkpoint_minutes": 0.0001, **changed}
    return Plan(
        name="zork",
        trigger=spec.TRIGGER_WORD,
        preset=Preset.CONCEPT,
        backend=Backend.GGUF,
        base_name=spec.UNET_FILE,
        base_sha256=store.sha256(micro_set.place(micro_set.SHIPPED).unet),
        recipe=recipe.load(Preset.CONCEPT, overrides, micro=True),
    )


def written(place: Path, max_runtime: float = 3600) -> Path:
    path = place / "notebook.ipynb"
    notebook.write(path, plan(), max_runtime=max_runtime)
    return path


def mounted(place: Path, output: Path) -> Path:
    """The inputs with a run's output among them, nested as newer images do."""
    inputs = place / f"input-{output.parent.name}"
    shutil.copytree(place / "input", inputs)
    shutil.copytree(output, inputs / "notebooks" / "me" / "zork")
    return inputs


def start(
    place: Path, inputs: Path, name: str, max_runtime: float = 3600
) -> tuple[RunFolder, "subprocess.Popen[str]"]:
    """Begin to run the notebook on a machine of its own."""
    working = place / name / "working"
    (working.parent / "temp").mkdir(parents=True)
    working.mkdir()
    begin = notebook_runner({"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
    process = begin(written(place, max_runtime), inputs, working)
    return RunFolder(working / "run"), process


def execute(place: Path, inputs: Path, name: str, max_runtime: float = 3600) -> Ran:
    run, process = start(place, inputs, name, max_runtime)
    log, _ = process.communicate(timeout=110)
    assert process.returncode == 0, log
    return Ran(run, log)


@pytest.fixture(scope="module")
def taken_away(place: Path) -> Ran:
    run, process = start(place, place / "input", "first")
    until = time.monotonic() + TAKEN_AWAY
    while not list(run.checkpoints.glob("*.json")) and time.monotonic() < until:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    kill_tree(process.pid)
    return Ran(run, process.communicate()[0])


@pytest.fixture(scope="module")
def finished(place: Path, taken_away: Ran) -> Ran:
    return execute(place, mounted(place, taken_away.working), "second")


def test_a_machine_that_is_taken_away_leaves_a_checkpoint(taken_away: Ran) -> None:
    assert list(taken_away.run.checkpoints.glob("*.json"))
    assert not taken_away.run.lora("zork").exists()


def test_the_next_machine_goes_on_from_there_to_the_lora(taken_away: Ran, finished: Ran) -> None:
    first = max(int(path.stem[5:]) for path in taken_away.run.checkpoints.glob("*.json"))
    assert f"goes on from update {first}" in finished.log
    assert finished.log.rstrip().endswith("Done: lora/zork.safetensors after 20 updates.")
    trained = [
        event.step
        for event in progress.read(finished.run.progress)
        if event.event is Happened.CHECKPOINT
    ]
    assert trained == sorted(set(trained)), "no update was made twice"
    assert max(trained) == 20
    found = lora.read(finished.run.lora("zork"), spec.FLUX)
    assert len(found.layers) == 27


def test_what_it_leaves_is_small_and_says_how_it_ended(finished: Ran) -> None:
    status = progress.read_status(finished.run.status)
    assert status is not None
    assert status.state is State.DONE
    assert store.sha256(finished.run.lora("zork")) == status.sha256
    report = json.loads((finished.working / "vulcan-kernel.json").read_text())
    assert report["state"] == "ok"
    names = {path.name for path in finished.run.path.iterdir()}
    assert not names & {"cache", "assets.json", "hashes.json"}
    assert {"run.json", "loss.png", "sheet.png", "samples", "progress.jsonl"} <= names
    assert run_plan.read_plan(finished.run.plan) == plan()


def test_a_finished_run_has_nothing_left_to_do(place: Path, finished: Ran) -> None:
    again = execute(place, mounted(place, finished.working), "third")
    assert "it is finished." in again.log
    assert "-- train" not in again.log
    assert store.sha256(again.run.lora("zork")) == store.sha256(finished.run.lora("zork"))


def test_a_run_that_reaches_its_time_limit_pauses_in_order(place: Path) -> None:
    paused = execute(place, place / "input", "paused", max_runtime=0.1)
    status = progress.read_status(paused.run.status)
    assert status is not None
    assert status.state is State.PAUSED
    assert "the time limit was reached" in paused.log.splitlines()[-1]
    assert "with its own output attached" in paused.log.splitlines()[-1]
    assert json.loads((paused.working / "vulcan-kernel.json").read_text())["state"] == "ok"
