"""The trainer as a child: what a worker makes of each of its ends, with one that pretends."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import training_child, training_process
from core.training_child import Paused, Stop, Stopped
from tests.train_kit import plan, training
from training import progress, recipe, run_plan
from training.errors import TrainingError
from training.recipe import Preset
from training.run_folder import RunFolder

STAND_IN = "tests.training_stand_in"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(training(tmp_path / "run").folder)
    short = recipe.load(Preset.CHARACTER, {"steps": 8}, micro=True)
    run_plan.write(folder.plan, plan(recipe=short))
    return folder


def order(run: RunFolder, **orders: Any) -> None:
    (run.path / "orders.json").write_text(json.dumps(orders))


def train(run: RunFolder, stop: Stop | None = None, limit: float = 0.0) -> None:
    lock = training_process.take(run.path)
    try:
        training_child.train(run, stop or Stop(), lock, STAND_IN, limit)
    finally:
        os.close(lock)


def test_a_trainer_that_crashes_is_started_again_while_it_comes_further(run: RunFolder) -> None:
    order(run, die_at=[2, 5])
    train(run)
    assert (run.path / "died-2").exists()
    assert (run.path / "died-5").exists()
    assert run.lora("ohwx").is_file()


def test_a_trainer_that_crashes_where_it_did_before_is_given_up(run: RunFolder) -> None:
    order(run, stuck_at=3)
    with pytest.raises(TrainingError, match=r"crashed.*SIGKILL, most likely because memory ran"):
        train(run)


def test_a_trainer_s_own_reason_is_the_failure(run: RunFolder) -> None:
    order(run, fail="there is no such file: a.png")
    with pytest.raises(TrainingError, match=r"^there is no such file: a\.png\.$"):
        train(run)


def test_a_trainer_that_pauses_at_its_limit_goes_on_when_it_is_called_again(
    run: RunFolder,
) -> None:
    order(run, pause=0.1)
    with pytest.raises(Paused, match="the same call goes on"):
        train(run, limit=0.25)
    status = progress.read_status(run.status)
    assert status is not None
    assert 0 < status.step < 8
    train(run)
    assert run.lora("ohwx").is_file()


def test_a_wish_to_stop_reaches_the_trainer_which_saves(
    run: RunFolder, eventually: Callable[..., None]
) -> None:
    order(run, pause=0.05)
    stop = Stop()

    def soon() -> None:
        eventually(run.status.exists)
        stop.ask()

    thread = threading.Thread(target=soon)
    thread.start()
    with pytest.raises(Stopped):
        train(run, stop)
    thread.join()
    status = progress.read_status(run.status)
    assert status is not None
    assert status.state is progress.State.PAUSED


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    tmp_path.joinpath("run").mkdir()
    assert not training_process.is_at_work(tmp_path / "run")
    lock = training_process.take(tmp_path / "run")
    assert training_process.is_at_work(tmp_path / "run")
    with pytest.raises(TrainingError, match="another worker"):
        training_process.take(tmp_path / "run", patience=0.0)
    os.close(lock)
    assert not training_process.is_at_work(tmp_path / "run")


def test_a_process_is_known_by_its_number_and_when_it_began() -> None:
    pid = os.getpid()
    since = training_process.born(pid)
    assert training_process.is_alive(pid, since)
    assert not training_process.is_alive(pid, since + 1), "another one has the number now"
    assert not training_process.terminate(pid, since + 1)
    assert not training_process.is_alive(0, 0)
