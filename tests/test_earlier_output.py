"""A Kaggle kernel goes on from its own last output: the one that got furthest and is whole."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from models import store
from training import checkpoint_files, checkpoints, plan_digest, progress, recipe, run_plan
from training.checkpoints import Standing
from training.kaggle import earlier_output
from training.progress import Stage, State, Status
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Backend, Plan

PLAN = Plan(
    name="zork",
    trigger="zork",
    preset=Preset.CONCEPT,
    backend=Backend.GGUF,
    base_name="base.gguf",
    base_sha256="",
    recipe=recipe.load(Preset.CONCEPT, {"steps": 9}),
)


def output(path: Path, *steps: int, plan: Plan = PLAN, done: bool = False) -> RunFolder:
    """What a run leaves that was stopped, or that is finished."""
    folder = RunFolder(path)
    run_plan.write(folder.plan, plan)
    for step in steps:
        weight = nn.Parameter(torch.full((2,), float(step)))
        standing = Standing(step, {"a": weight}, torch.optim.AdamW([weight]))
        checkpoints.write(folder.checkpoints, standing, plan_digest.digest(plan, "pictures"))
    folder.progress.write_text("")
    folder.dataset.write_text("{}")
    folder.samples.mkdir()
    (folder.samples / "step-000000-1.png").write_bytes(b"png")
    (folder.cache).mkdir()
    (folder.cache / "large.safetensors").write_bytes(b"cache")
    status = Status(state=State.PAUSED, stage=Stage.TRAIN, step=max(steps, default=0))
    if done:
        store.atomic_write(folder.lora(plan.name), b"lora")
        digest = store.sha256(folder.lora(plan.name))
        status = Status(state=State.DONE, stage=Stage.EXPORT, sha256=digest)
    progress.write_status(folder.status, status)
    return folder


def found(place: Path, own: Path, plan: Plan = PLAN) -> tuple[str, int, bool] | None:
    earlier = earlier_output.find(place, plan, RunFolder(own))
    if earlier is None:
        return None
    return earlier.folder.path.parent.name, earlier.step, earlier.done


def test_without_any_output_a_run_begins_at_the_beginning(tmp_path: Path) -> None:
    assert found(tmp_path / "input", tmp_path / "run") is None


@pytest.mark.parametrize("place", ["me-zork", "notebooks/me/me-zork"])
def test_an_output_is_found_however_deep_it_is_mounted(tmp_path: Path, place: str) -> None:
    output(tmp_path / "input" / place / "run", 3)
    assert found(tmp_path / "input", tmp_path / "run") == ("me-zork", 3, False)


def test_of_several_outputs_the_one_that_got_furthest_is_taken(tmp_path: Path) -> None:
    output(tmp_path / "input" / "a" / "run", 6)
    output(tmp_path / "input" / "b" / "run", 3)
    assert found(tmp_path / "input", tmp_path / "run") == ("a", 6, False)
    output(tmp_path / "input" / "c" / "run", 9, done=True)
    assert found(tmp_path / "input", tmp_path / "run") == ("c", 9, True)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    folder = output(tmp_path / "input" / "a" / "run", 3, 6)
    newest = folder.checkpoints / "step-000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert found(tmp_path / "input", tmp_path / "run") == ("a", 3, False)
    earlier = earlier_output.find(tmp_path / "input", PLAN, RunFolder(tmp_path / "run"))
    assert earlier is not None
    earlier_output.take(earlier, RunFolder(tmp_path / "run"), PLAN)
    taken = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert taken == ["step-000003.json", "step-000003.safetensors"]


def test_an_output_whose_checkpoints_are_all_damaged_is_of_no_use(tmp_path: Path) -> None:
    folder = output(tmp_path / "input" / "a" / "run", 3)
    (folder.checkpoints / "step-000003.json").write_text("{")
    assert found(tmp_path / "input", tmp_path / "run") is None


def test_a_finished_lora_with_other_bytes_does_not_count_as_finished(tmp_path: Path) -> None:
    folder = output(tmp_path / "input" / "a" / "run", 6, done=True)
    folder.lora(PLAN.name).write_bytes(b"cut")
    assert found(tmp_path / "input", tmp_path / "run") == ("a", 6, False)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"base_sha256": "0" * 64},
        {"recipe": PLAN.recipe.model_copy(update={"learning_rate": 0.5})},
    ],
)
def test_the_output_of_another_training_is_left_alone(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    output(tmp_path / "input" / "a" / "run", 3)
    other = PLAN.model_copy(update=changed)
    assert found(tmp_path / "input", tmp_path / "run", other) is None


def test_how_many_samples_are_drawn_makes_no_other_training(tmp_path: Path) -> None:
    output(tmp_path / "input" / "a" / "run", 3)
    more = PLAN.model_copy(update={"recipe": PLAN.recipe.model_copy(update={"samples": 5})})
    assert found(tmp_path / "input", tmp_path / "run", more) == ("a", 3, False)


@pytest.mark.parametrize("damage", ["run.json", "status.json"])
def test_an_output_that_cannot_be_read_is_passed_over(tmp_path: Path, damage: str) -> None:
    folder = output(tmp_path / "input" / "a" / "run", 3)
    (folder.path / damage).write_bytes(b"\x00{")
    assert found(tmp_path / "input", tmp_path / "run") is None


def test_what_is_taken_can_be_gone_on_from_and_is_no_more_than_that(tmp_path: Path) -> None:
    theirs = output(tmp_path / "input" / "a" / "run", 3, 6)
    shutil.copytree(theirs.path, tmp_path / "before")
    for path in theirs.path.rglob("*"):
        path.chmod(0o555)  # mounted read-only
    own = RunFolder(tmp_path / "run")
    earlier = earlier_output.find(tmp_path / "input", PLAN, own)
    assert earlier is not None
    earlier_output.take(earlier, own, PLAN)
    there = checkpoint_files.newest(own.checkpoints, plan_digest.digest(PLAN, "pictures"))
    assert there is not None
    assert there.step == 6
    assert progress.read_status(own.status) == progress.read_status(theirs.status)
    assert (own.samples / "step-000000-1.png").is_file()
    assert not own.cache.exists()
    assert not own.assets.exists()
    own.status.unlink()  # ours to write, though theirs was not
    own.progress.open("a").close()


def test_a_finished_run_is_taken_with_its_lora(tmp_path: Path) -> None:
    output(tmp_path / "input" / "a" / "run", 9, done=True)
    own = RunFolder(tmp_path / "run")
    earlier = earlier_output.find(tmp_path / "input", PLAN, own)
    assert earlier is not None
    earlier_output.take(earlier, own, PLAN)
    assert own.lora(PLAN.name).read_bytes() == b"lora"


def test_cells_that_are_run_again_keep_what_they_made(tmp_path: Path) -> None:
    output(tmp_path / "input" / "a" / "run", 3)
    own = output(tmp_path / "working" / "run", 6)
    assert found(tmp_path / "input", own.path) == ("working", 6, False)
    earlier = earlier_output.find(tmp_path / "input", PLAN, own)
    assert earlier is not None
    earlier_output.take(earlier, own, PLAN)
    assert own.cache.is_dir()
    assert earlier_output.put_aside(own, PLAN) is None


def test_a_run_of_another_plan_is_put_aside_and_not_lost(tmp_path: Path) -> None:
    own = output(tmp_path / "run", 3)
    other = PLAN.model_copy(update={"name": "other"})
    aside = earlier_output.put_aside(own, other)
    assert aside == tmp_path / "run-before-1"
    assert json.loads((aside / "run.json").read_text())["name"] == "zork"
    assert not own.path.exists()
    output(tmp_path / "run", 3)
    assert earlier_output.put_aside(own, other) == tmp_path / "run-before-2"
