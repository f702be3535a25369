"""Whole stories: a training goes to Kaggle and comes back, or ends as a person would want.

A stand-in really runs what was pushed: as processes that behave like the notebook, which find what
they go on from below ``input`` and leave what they made in ``working``.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kaggle_kit import a_package, kaggle, ready
from tests.kaggle_stand_in.behaviour import Fault
from tests.kaggle_stand_in.kaggle_site import TOKEN, Runner
from training.errors import TrainingError
from training.kaggle import cloud_run
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.cloud_log import log
from training.kaggle.cloud_output import fetch
from training.kaggle.dataset_upload import upload
from training.kaggle.values import CloudState, CloudStatus, Package, Want
from training.kaggle.verdict import verdict
from training.run_folder import RunFolder

# Trains six steps in the notebook's stead: a step is a checkpoint, and it may be stopped at any.
TRAINER = """
import hashlib, json, os, pathlib, shutil, sys, time
source, working = (pathlib.Path(os.environ["VULCAN_KAGGLE_" + n]) for n in ("INPUT", "WORKING"))
pace, budget, gpu = float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
assert json.loads(pathlib.Path(sys.argv[1]).read_text())["nbformat"] == 4
def say(table):
    (working / "vulcan-kernel.json").write_text(json.dumps(table))
if gpu != "T4 x2":
    say({"state": "refused", "code": "wrong_gpu", "why": f"it has a {gpu}", "fix": ""})
    sys.exit(print("refused"))
say({"state": "ok"})
(data,) = source.glob("*-data")
assert len(list(data.glob("*.png"))) == 3 and (data / "run.json").is_file()
run = working / "run"
for earlier in source.glob("*/run"):
    shutil.copytree(earlier, run)
(run / "checkpoints").mkdir(parents=True, exist_ok=True)
(run / "lora").mkdir(exist_ok=True)
def status(state, step, **more):
    table = {"state": state, "stage": "train", "step": step, "steps": 6, **more}
    (run / "status.json").write_text(json.dumps(table))
done = max([int(p.stem[5:]) for p in run.glob("checkpoints/step-*.safetensors")], default=0)
print("goes on from step", done, flush=True)
for step in range(done + 1, 7):
    time.sleep(pace)
    (run / "checkpoints" / f"step-{step:06}.safetensors").write_bytes(b"weights")
    status("running", step)
    print("step", step, flush=True)
    if step - done == budget:
        status("paused", step)
        sys.exit()
lora = b"lora" * 1000
(run / "lora" / "ohwx.safetensors").write_bytes(lora)
status("done", 6, lora="lora/ohwx.safetensors", sha256=hashlib.sha256(lora).hexdigest())
"""


def trainer(pace: float = 0.0, budget: int = 99, gpu: str = "T4 x2") -> Runner:
    def run(notebook: Path, inputs: Path, working: Path) -> "subprocess.Popen[str]":
        places = {"VULCAN_KAGGLE_INPUT": str(inputs), "VULCAN_KAGGLE_WORKING": str(working)}
        told = [str(notebook), str(pace), str(budget), gpu]
        return subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", TRAINER, *told],
            env={**os.environ, **places},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def pushed(folder: Path, account: Account) -> tuple[RunFolder, Package]:
    """Upload a package and begin its first run."""
    run, made = a_package(folder)
    upload(account, made)
    cloud_run.push(account, made, resume=False, timeout_s=60)
    return run, made


def end_of(account: Account, made: Package, run: RunFolder) -> TrainingError | None:
    """Fetch what a run left, and return what is said of it."""
    fetched = fetch(account, made.slug, run, Want.ALL)
    return verdict(account, made.slug, run, cloud_run.status(account, made.slug), fetched)


def test_push_run_and_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kaggle(monkeypatch, tmp_path, trainer()) as (stand_in, account):
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_over(made.slug)
        state = cloud_run.status(account, made.slug)
        fetched = fetch(account, made.slug, run, Want.ALL)
        assert state.state is CloudState.COMPLETE
        assert verdict(account, made.slug, run, state, fetched) is None
        assert run.lora("ohwx").read_bytes() == b"lora" * 1000
        assert log(account, made.slug)[0] == "goes on from step 0"


def test_a_paused_run_goes_on_from_its_own_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer(budget=4)) as (stand_in, account):
        run, made = a_package(tmp_path)
        upload(account, made)
        logs = []
        for turn in range(2):
            version = cloud_run.push(account, made, resume=turn > 0, timeout_s=60)
            assert version == turn + 1
            stand_in.site.wait_over(made.slug)
            fetched = fetch(account, made.slug, run, Want.ALL)
            state = cloud_run.status(account, made.slug)
            assert verdict(account, made.slug, run, state, fetched) is None
            logs += log(account, made.slug)
        assert logs.count("goes on from step 4") == 1
        assert logs.count("step 4") == 1
        assert json.loads(run.status.read_bytes())["state"] == "done"


@pytest.mark.parametrize("state", ["ERROR", "COMPLETE"])
def test_a_run_whose_machine_is_taken_away_goes_on_from_its_last_checkpoint(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer(pace=0.15)) as (stand_in, account):
        stand_in.site.behaviour.preempt_after = 0.7
        stand_in.site.behaviour.preempt_as = state
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_over(made.slug)
        fetched = fetch(account, made.slug, run, Want.ALL)
        stands = cloud_run.status(account, made.slug)
        error = verdict(account, made.slug, run, stands, fetched)
        assert isinstance(error, CloudError)
        assert error.trouble is Trouble.STOPPED
        assert "go on from its last checkpoint" in str(error)
        stand_in.site.behaviour.preempt_after = None
        cloud_run.push(account, made, resume=True, timeout_s=60)
        stand_in.site.wait_over(made.slug)
        assert log(account, made.slug)[0] != "goes on from step 0"
        fetched = fetch(account, made.slug, run, Want.ALL)
        assert verdict(account, made.slug, run, stands, fetched) is None
        assert run.lora("ohwx").exists()


def test_a_run_that_lost_its_output_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer(pace=0.2)) as (stand_in, account):
        stand_in.site.behaviour.preempt_after = 0.1
        stand_in.site.behaviour.keeps_output = False
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_over(made.slug)
        error = end_of(account, made, run)
        assert isinstance(error, CloudError)
        assert error.trouble is Trouble.FAILED
        assert "exceeded the max allowed time" in str(error)


def test_a_wrong_gpu_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer(gpu="P100")) as (stand_in, account):
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_over(made.slug)
        error = end_of(account, made, run)
        assert isinstance(error, CloudError)
        assert error.trouble is Trouble.REFUSED
        assert "it has a P100" in str(error)
        assert "GPU T4 x2" in str(error)
        assert made.url in str(error)


def test_a_run_that_was_cancelled_on_the_site_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer(pace=5)) as (stand_in, account):
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_running(made.slug)
        stand_in.site.cancel(made.slug)
        stand_in.site.wait_over(made.slug)
        error = end_of(account, made, run)
        assert isinstance(error, CloudError)
        assert error.trouble is Trouble.CANCELLED


def test_a_notebook_that_fails_is_told_by_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        run, made = pushed(tmp_path, account)
        lines = ["start\n", "CUDA out of memory\n", "[NbConvertApp] ERROR\n"]
        stand_in.site.finish(made.slug, "ERROR", log=lines)
        error = end_of(account, made, run)
        assert "start / CUDA out of memory. See its log at" in str(error)


def test_why_the_training_failed_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        run, made = a_package(tmp_path)
        ready(stand_in, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        said = {"state": "failed", "code": "training", "why": "The loss is NaN.", "fix": ""}
        outputs = {"vulcan-kernel.json": json.dumps(said).encode()}
        stand_in.site.finish(made.slug, "COMPLETE", outputs)
        fetched = fetch(account, made.slug, run, Want.ALL)
        error = verdict(account, made.slug, run, CloudStatus(CloudState.COMPLETE), fetched)
        assert isinstance(error, CloudError)
        assert error.trouble is Trouble.FAILED
        assert str(error).startswith("the run on Kaggle failed: The loss is NaN. See its log")


def test_an_older_runs_status_does_not_speak_for_a_run_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path) as (stand_in, account):
        run, made = a_package(tmp_path)
        ready(stand_in, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        paused = b'{"state": "paused", "stage": "train", "step": 3, "steps": 6}'
        stand_in.site.finish(made.slug, outputs={"run/status.json": paused})
        state = cloud_run.status(account, made.slug)
        fetched = fetch(account, made.slug, run, Want.ALL)
        assert verdict(account, made.slug, run, state, fetched) is None
        cloud_run.push(account, made, resume=True, timeout_s=60)
        stand_in.site.finish(made.slug, log=["gone\n"])
        fetched = fetch(account, made.slug, run, Want.ALL)
        error = verdict(account, made.slug, run, state, fetched)
        assert "ended without a result: gone. See its log" in str(error)


@pytest.mark.parametrize("seed", [0, 2])
def test_with_every_third_request_cut_the_lora_still_comes_home(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer()) as (stand_in, account):
        run, made = a_package(tmp_path)
        chance = random.Random(seed)
        cuts = [
            Fault("/", skip=chance.randint(0, 4), late=chance.random() < 0.5) for _ in range(60)
        ]
        stand_in.site.behaviour.faults = cuts
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        stand_in.site.wait_over(made.slug)
        fetch(account, made.slug, run, Want.ALL)
        assert sum(cut.times == 0 for cut in cuts) > 15
        assert run.lora("ohwx").read_bytes() == b"lora" * 1000
        assert len(stand_in.site.kernels[made.slug].versions) == 1
        assert len(stand_in.site.datasets[made.dataset_slug].versions) == 1


def test_nothing_that_is_written_holds_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer()) as (stand_in, account):
        run, made = pushed(tmp_path, account)
        stand_in.site.wait_over(made.slug)
        fetch(account, made.slug, run, Want.ALL)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_kaggles_own_command_line_understands_the_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kaggle(monkeypatch, tmp_path, trainer()) as (stand_in, account):
        _, made = a_package(tmp_path)
        upload(account, made)
        cloud_run.push(account, made, resume=False, timeout_s=60)
        stand_in.site.wait_over(made.slug)
        # Only LOCALHOST goes to plain HTTP, on port 80: as a proxy, the stand-in gets it all.
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setenv("HTTP_PROXY", stand_in.endpoint)

        def command(*words: str) -> str:
            line = [sys.executable, "-m", "kaggle", "-W", *words]
            ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        name = f"someone/{made.slug}"
        assert "COMPLETE" in command("kernels", "status", name)
        assert made.slug in command("datasets", "list", "--mine")
        assert "ready" in command("datasets", "status", f"{name}-data")
        command("kernels", "output", name, "-p", str(tmp_path / "out"))
        assert (tmp_path / "out/run/lora/ohwx.safetensors").read_bytes() == b"lora" * 1000
