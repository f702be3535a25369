"""A whole training on the stand-in for Kaggle: the real client, the real notebook, a real LoRA.

It runs headless on this processor, on the micro Flux. The first machine is taken away after a
checkpoint, the second goes on from its output to the end, a third finds nothing left to do.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models import lora, store
from models.micro import micro_set, spec
from tests import training_kit
from tests.kaggle_kit import kaggle
from tests.kaggle_stand_in.execute import notebook_runner
from tests.kaggle_stand_in.kaggle_site import Version
from training import progress, recipe, run_plan
from training.kaggle import cloud_run, notebook
from training.kaggle.cloud_output import fetch
from training.kaggle.cloud_package import package
from training.kaggle.dataset_upload import upload
from training.kaggle.values import CloudState, CloudStatus, Contents, Fetched, Want
from training.kaggle.verdict import verdict
from training.progress import Happened, State
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend, Plan

FILES = micro_set.place(micro_set.SHIPPED)
MODELS = (FILES.unet, FILES.clip_l, FILES.t5, FILES.vae)
STEPS = 20
RECIPE = {
    "steps": STEPS,
    "batch": 2,
    "resolution": "[64]",
    "samples": 1,
    "sample_steps": 2,
    "prior": 0,
    "prior_share": 0.0,
    "checkpoint_minutes": 1e-4,  # one after every update
}
PLAN = Plan(
    name="zork",
    trigger=spec.TRIGGER_WORD,
    preset=Preset.CONCEPT,
    backend=Backend.GGUF,
    base_name=spec.UNET_FILE,
    base_sha256=store.sha256(FILES.unet),
    recipe=recipe.load(Preset.CONCEPT, RECIPE, micro=True),
)
RUNNER = notebook_runner({"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
PATIENCE = 100.0  # seconds

# Two trainings, each of four processes that load torch: 30 s on two idle cores.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Ran:
    """A notebook that was run: its output, and what it printed."""

    working: Path
    log: str

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.working / "run")


@dataclass(frozen=True)
class Story:
    """Both versions, and what came of them here."""

    first: Ran
    second: Ran
    statuses: tuple[CloudStatus, CloudStatus]
    fetched: Fetched
    run: RunFolder
    verdict: Exception | None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    training_kit.photos(root / "photos", 3)
    return root


@pytest.fixture(scope="module")
def story(place: Path) -> Iterator[Story]:
    run = RunFolder(place / "zork-1")
    run_plan.write(run.plan, PLAN)
    contents = Contents(place / "photos", notebook.build, MODELS, gpu=False)
    with pytest.MonkeyPatch.context() as patch, kaggle(patch, place, RUNNER) as (stand_in, account):
        made = package(run, account.user, place / "work", contents)
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=600)
        (first,) = stand_in.site.kernels[made.slug].versions
        wait_for_a_checkpoint(first)
        stand_in.site.preempt(made.slug)
        stand_in.site.wait_over(made.slug)
        ended = cloud_run.status(account, made.slug)
        cloud_run.push(account, made, resume=True, timeout_s=600)
        second = stand_in.site.wait_over(made.slug, PATIENCE)
        status = cloud_run.status(account, made.slug)
        fetched = fetch(account, made.slug, run, Want.ALL)
        judged = verdict(account, made.slug, run, status, fetched)
        yield Story(ran(first), ran(second), (ended, status), fetched, run, judged)


def wait_for_a_checkpoint(version: Version) -> None:
    until = time.monotonic() + PATIENCE
    while not list((version.working / "run" / "checkpoints").glob("*.json")):
        assert not version.over, version.log
        assert time.monotonic() < until, version.log
        time.sleep(0.02)


def ran(version: Version) -> Ran:
    return Ran(version.working, "".join(version.log))


def execute(place: Path, name: str, *mounted: Path, max_runtime: float = 3600) -> Ran:
    """Run the notebook without a client; mounts are nested as newer images do."""
    data, working = place / name / "input" / "datasets" / "me", place / name / "working"
    shutil.copytree(place / "photos", data / "zork")
    for path in MODELS:
        shutil.copy(path, data / "zork")
    for output in mounted:
        shutil.copytree(output, place / name / "input" / "notebooks" / "me" / "zork")
    for folder in (working, place / name / "temp"):
        folder.mkdir()
    notebook.write(place / name / "n.ipynb", PLAN, max_runtime=max_runtime)
    process = RUNNER(place / name / "n.ipynb", place / name / "input", working)
    log, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, log
    return Ran(working, log)


def test_a_machine_that_is_taken_away_leaves_a_checkpoint(story: Story) -> None:
    assert story.statuses[0].state is CloudState.ERROR
    assert list(story.first.run.checkpoints.glob("*.json"))
    assert not story.first.run.lora("zork").exists()


def test_the_next_version_goes_on_from_there_to_the_end(story: Story) -> None:
    assert story.statuses[1].state is CloudState.COMPLETE, story.second.log
    first = max(int(path.stem[5:]) for path in story.first.run.checkpoints.glob("*.json"))
    assert f"goes on from update {first}" in story.second.log
    last = f"Done: lora/zork.safetensors after {STEPS} updates."
    assert story.second.log.rstrip().endswith(last)
    events = progress.read(story.second.run.progress)
    kept = [event.step for event in events if event.event is Happened.CHECKPOINT]
    assert kept == sorted(set(kept)), "no update was made twice"
    assert max(kept) == STEPS


def test_the_lora_arrives_here_whole(story: Story) -> None:
    assert story.verdict is None
    status = progress.read_status(story.run.status)
    assert status is not None
    assert status.state is State.DONE
    assert store.sha256(story.run.lora("zork")) == status.sha256
    assert len(lora.read(story.run.lora("zork"), spec.FLUX).layers) == 27


def test_the_output_is_small_and_says_how_it_ended(story: Story) -> None:
    assert story.fetched.report is not None
    assert not story.fetched.report.refused
    report = json.loads((story.second.working / "vulcan-kernel.json").read_text())
    assert report["state"] == "ok"
    names = {path.name for path in story.second.run.path.iterdir()}
    assert not names & {"cache", "assets.json", "hashes.json"}
    assert {"run.json", "loss.png", "sheet.png", "samples", "progress.jsonl"} <= names
    assert run_plan.read_plan(story.second.run.plan) == PLAN


def test_a_finished_run_has_nothing_left_to_do(place: Path, story: Story) -> None:
    again = execute(place, "third", story.second.working)
    assert "it is finished." in again.log
    assert "-- train" not in again.log
    assert store.sha256(again.run.lora("zork")) == store.sha256(story.run.lora("zork"))


def test_a_run_that_reaches_its_time_limit_pauses_in_order(place: Path) -> None:
    paused = execute(place, "paused", max_runtime=0.1)
    status = progress.read_status(paused.run.status)
    assert status is not None
    assert status.state is State.PAUSED
    last = paused.log.rstrip().splitlines()[-1]
    assert "the time limit was reached" in last
    assert "with its own output attached" in last
    assert json.loads((paused.working / "vulcan-kernel.json").read_text())["state"] == "ok"
