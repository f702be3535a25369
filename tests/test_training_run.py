"""A training as a person starts it: `python -m training RUN`, stopped, killed, gone on with."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from models import store
from models.micro.micro_set import MicroSet
from tests import training_kit
from training import __main__ as training_main
from training import checkpoint_files, progress, run_plan
from training.progress import Happened, Stage, State
from training.run_folder import RunFolder
from training.stages import stage_process

SHORT: dict[str, Any] = {
    "steps": 30,
    "batch": 4,
    "prior": 4,
    "prior_share": 0.5,
    "precision": "fp32",
    "samples": 1,
    "sample_every": 20,
    "sample_steps": 2,
    "checkpoint_minutes": 0.001,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> MicroSet:
    return training_kit.models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def through(files: MicroSet, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("through")
    pictures = training_kit.photos(folder / "photos", 6)
    run = training_kit.run(folder / "lora", files, pictures, **SHORT)
    done = training_kit.train(run)
    assert done.returncode == 0, done.stderr
    return run


def again(run: RunFolder, folder: Path) -> RunFolder:
    """The same run with its pictures encoded and nothing trained."""
    made = RunFolder(folder / run.path.name)
    made.path.mkdir()
    for path in (run.plan, run.assets):
        shutil.copy(path, made.path)
    shutil.copy(run.dataset, made.path)
    shutil.copytree(run.cache, made.cache)
    return made


def weights_of(run: RunFolder) -> dict[str, bytes]:
    """The LoRA at the end, bit by bit."""
    last = checkpoint_files.newest(run.checkpoints)
    assert last is not None
    assert last.step == SHORT["steps"]
    return {name: one.tobytes() for name, one in load_file(last.path).items() if "lora/" in name}


def happened(run: RunFolder, kind: Happened) -> list[progress.Event]:
    return [event for event in progress.read(run.progress) if event.event is kind]


def saved(run: RunFolder) -> int:
    return len(happened(run, Happened.CHECKPOINT))


def wait_until_saved(run: RunFolder, child: BaseProcess, count: int) -> None:
    end = time.monotonic() + 60
    while saved(run) < count and child.is_alive():
        assert time.monotonic() < end, "nothing is saved"
        time.sleep(0.01)


# --- to the end ---


def test_a_training_leaves_a_lora_samples_a_curve_and_a_status(through: RunFolder) -> None:
    status = progress.read_status(through.status)
    assert status is not None
    lora = through.lora("lora")
    assert (status.state, status.step, status.lora) == (State.DONE, 30, "lora/lora.safetensors")
    assert status.sha256 == store.sha256(lora)
    assert sorted(path.name for path in through.samples.iterdir()) == [
        f"step-0000{step}-1.png" for step in ("00", "20", "30")
    ]
    assert through.loss_curve.is_file()
    assert through.sheet.is_file()
    stages = [event.stage for event in happened(through, Happened.STAGE)]
    assert stages == list(Stage)
    last = happened(through, Happened.STEP)[-1]
    assert (last.step, last.steps) == (30, 30)
    assert last.seconds > 0


def test_nothing_outside_the_run_is_named_in_what_leaves_the_machine(through: RunFolder) -> None:
    for path in (through.plan, through.status, through.progress, through.lora("lora")):
        assert str(through.path.parent).encode() not in path.read_bytes()


def test_a_finished_training_is_not_done_again(through: RunFolder) -> None:
    before = through.progress.read_bytes()
    done = training_kit.train(through)
    assert done.returncode == 0
    assert through.progress.read_bytes() == before


# --- stopped, and gone on with ---


def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
    through: RunFolder, tmp_path: Path
) -> None:
    run = again(through, tmp_path)
    drawn = random.Random(8)
    for _ in range(3):
        child = training_kit.stage(run, Stage.TRAIN)
        wait_until_saved(run, child, saved(run) + drawn.randint(1, 8))
        time.sleep(drawn.random() / 5)
        child.kill()
        child.join()
    assert training_kit.staged(run, Stage.TRAIN) == 0
    assert "goes on from update" in happened(run, Happened.NOTE)[-1].text
    assert weights_of(run) == weights_of(through)


def test_sigterm_saves_and_the_next_call_goes_on(through: RunFolder, tmp_path: Path) -> None:
    run = again(through, tmp_path)
    child = training_kit.stage(run, Stage.TRAIN)
    wait_until_saved(run, child, 1)
    child.terminate()
    child.join(30)
    assert child.exitcode == 128 + signal.SIGTERM
    status, there = progress.read_status(run.status), checkpoint_files.newest(run.checkpoints)
    assert status is not None
    assert there is not None
    assert (status.state, status.step) == (State.PAUSED, there.step)
    assert training_kit.staged(run, Stage.TRAIN) == 0
    assert weights_of(run) == weights_of(through)


def test_at_its_time_limit_it_pauses_with_exit_0_and_one_update_more(
    through: RunFolder, tmp_path: Path
) -> None:
    run = again(through, tmp_path)
    done = training_kit.train(run, "--max-runtime", "0")
    assert done.returncode == 0, done.stderr
    assert training_kit.staged(run, Stage.TRAIN, "--until", "0") == stage_process.PAUSED
    status = progress.read_status(run.status)
    assert status is not None
    assert (status.state, status.step) == (State.PAUSED, 2)
    assert "time limit" in status.text
    assert training_kit.staged(run, Stage.TRAIN) == 0
    assert weights_of(run) == weights_of(through)


def test_a_signal_is_handed_on_to_the_stage() -> None:
    heard = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print(flush=True)"
    child = subprocess.Popen([sys.executable, "-c", f"{heard}; time.sleep(60)"], stdout=-1)
    assert child.stdout is not None
    child.stdout.readline()
    Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert training_main.ended([child]) == 7
    child.stdout.close()


def test_when_one_of_several_processes_fails_the_others_end() -> None:
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert training_main.ended([failing, waiting]) == 3
    assert waiting.poll() == -signal.SIGTERM


# --- two processes ---


def test_two_processes_train_one_lora_and_go_on_together(
    files: MicroSet, through: RunFolder, tmp_path: Path
) -> None:
    """Two that take a batch each are one that takes two, up to rounding."""
    pictures = run_plan.read_assets(through.assets).pictures
    shape = {**SHORT, "steps": 6, "samples": 0, "prior_share": 0.0, "learning_rate": 1e-3}
    alone = training_kit.run(tmp_path / "alone", files, pictures, accumulate=2, **shape)
    both = training_kit.run(tmp_path / "both", files, pictures, accumulate=1, **shape)
    for run in (alone, both):
        shutil.copytree(through.cache, run.cache)
        shutil.copy(through.dataset, run.path)
    assert training_kit.staged(alone, Stage.TRAIN) == 0
    done = training_kit.train(both, "--processes", "2")
    assert done.returncode == 0, done.stderr
    found = [checkpoint_files.newest(run.checkpoints) for run in (alone, both)]
    one, two = (load_file(there.path) for there in found if there)
    names = [name for name in one if name.startswith("lora/")]
    assert len(names) == 54
    for name in names:
        assert np.allclose(one[name], two[name], atol=1e-5), name
    assert len(happened(both, Happened.STAGE)) == 4, "the second process tells nothing"


# --- refused ---


def test_other_pictures_are_not_trained_into_the_same_run(
    through: RunFolder, tmp_path: Path
) -> None:
    run = again(through, tmp_path)
    shutil.copytree(through.checkpoints, run.checkpoints)
    assets = run_plan.read_assets(run.assets)
    pictures = tmp_path / "photos"
    shutil.copytree(assets.pictures, pictures)
    (pictures / "photo-00.txt").write_text("another caption")
    run_plan.write(run.assets, assets.model_copy(update={"pictures": pictures}))
    done = training_kit.train(run)
    assert done.returncode == 1
    assert "another plan, or of other pictures" in done.stderr
    status = progress.read_status(run.status)
    assert status is not None
    assert status.state is State.FAILED


def test_a_full_disk_is_told_in_a_sentence(through: RunFolder, tmp_path: Path) -> None:
    run = again(through, tmp_path)
    run.progress.symlink_to("/dev/full")
    done = training_kit.train(run)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_card_without_room_is_told_in_a_sentence(
    through: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(_process: stage_process.StageProcess, _arguments: object) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    run = again(through, tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", str(run.path)])
    monkeypatch.setattr(stage_process, "_listen", lambda _process: None)
    assert stage_process.run(Stage.TRAIN, work) == stage_process.FAILED
    status = progress.read_status(run.status)
    assert status is not None
    assert status.state is State.FAILED
    assert "Lower the resolution or the batch" in status.text
    assert "Lower the resolution" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["base", "folder", "empty", "plan"])
def test_what_is_missing_or_wrong_is_told_in_a_sentence(
    through: RunFolder, tmp_path: Path, kind: str
) -> None:
    run = again(through, tmp_path)
    assets = run_plan.read_assets(run.assets)
    (tmp_path / "none").mkdir()
    if kind == "base":
        wrong = tmp_path / assets.unet.name
        wrong.write_bytes(assets.unet.read_bytes()[:-1] + b"x")
        run_plan.write(run.assets, assets.model_copy(update={"unet": wrong}))
    elif kind == "plan":
        run.plan.write_text("{")
    else:
        gone = tmp_path / ("none" if kind == "empty" else "nowhere")
        run_plan.write(run.assets, assets.model_copy(update={"pictures": gone}))
    done = training_kit.train(run)
    assert done.returncode == 1
    assert done.stderr.startswith("training")
    assert "Traceback" not in done.stderr
    told = {
        "base": "not the base that the training was planned for",
        "folder": "there is no such folder",
        "empty": "there are no pictures",
        "plan": "cannot be read",
    }
    assert told[kind] in done.stderr
