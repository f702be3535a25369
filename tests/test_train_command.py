"""``train`` as a user types it: the real director, workers and host; the trainer pretends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from core import arguments, train_command, training_process
from core.train_arguments import with_verb
from core.training_table import Trainings
from models.errors import ModelError
from tests.train_kit import pictures
from training.errors import TrainingError

ROOT = Path(__file__).resolve().parents[1]
DIRECTOR = [sys.executable, str(ROOT / "core" / "director.py")]
ASKED = ("--name=ohwx", "--type=character", "--trainer=tests.training_stand_in")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def train(tmp_path: Path) -> Run:
    """Return a function that runs ``train`` in folders of this test."""
    environ = {**os.environ, "VULCAN_STATE": "state", "VULCAN_HOST__USE": "embedded"}
    environ |= {f"VULCAN_FOLDERS__{one.upper()}": one for one in ("inbox", "outbox", "models")}

    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*DIRECTOR, "train", *more],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return run


@pytest.fixture(scope="module")
def shared_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder in which the micro Flux is quantised once for all."""
    return tmp_path_factory.mktemp("models")


def told(train: Run, *more: str) -> dict[str, Any]:
    entry = json.loads(train("status", "ohwx", "--json", *more).stdout)
    assert isinstance(entry, dict)
    return entry


@pytest.mark.timeout(300)  # a director with a host that loads torch
def test_a_training_outlives_its_terminal_and_a_kill_and_ends_with_a_sheet(
    tmp_path: Path, train: Run, eventually: Callable[..., None]
) -> None:
    pictures(tmp_path / "photos")
    begun = train("photos", *ASKED, "--set=steps=120", "--no-follow")
    assert begun.returncode == 0, begun.stderr
    assert "steps 120 (flag)" in begun.stdout
    assert "learning_rate 0.01 (micro)" in begun.stdout
    assert "train stop ohwx" in begun.stdout
    (folder,) = (tmp_path / "state" / "trainings").glob("ohwx-*")
    eventually((folder / "checkpoints" / "step").exists, 30.0)

    table = Trainings(tmp_path / "state", lambda: 1.0)
    row = table.named("ohwx")
    assert row is not None
    os.kill(row.pid, signal.SIGKILL)
    eventually(lambda: not training_process.is_at_work(folder))  # the trainer saved, and ended
    assert row.phase in ("validating", "training")
    dead = told(train)
    assert (dead["state"], dead["at_work"]) == ("working", False)
    assert 0 < dead["step"] < 120
    assert "train resume ohwx" in train("status", "ohwx").stdout

    assert "does not run" in train("stop", "ohwx").stdout
    assert told(train)["state"] == "stopped"

    done = train("ohwx")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "pair: ohwx" in done.stdout
    end = told(train)
    assert (end["state"], end["step"]) == ("done", 120)
    with Image.open(end["sheet"]) as sheet:
        assert sheet.width > 3 * 64
    assert (tmp_path / "models" / "loras" / "ohwx.safetensors").is_file()
    assert len(list((tmp_path / "outbox").glob("*_00?.png"))) == 9
    table.close()

    again = train("photos", *ASKED, "--set=steps=120")
    assert (again.returncode, "pair: ohwx" in again.stdout) == (0, True), "it is done already"
    other = train("photos", *ASKED, "--set=steps=121")
    assert other.returncode == 1
    assert "steps was 120 and is 121" in other.stderr
    assert "--fresh" in other.stderr
    (tmp_path / "photos" / "0.txt").write_text("another ohwx")
    assert "pictures or captions were changed" in train("photos", *ASKED, "--set=steps=120").stderr
    assert "a LoRA of this name already" in train("photos", *ASKED, "--fresh").stderr


def test_the_notebook_alone_is_written_for_other_clouds(tmp_path: Path, train: Run) -> None:
    pictures(tmp_path / "photos")
    done = train("photos", *ASKED, "--write-notebook=lora.ipynb", "--max-runtime=2")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "lora.ipynb").read_text()
    notebook: Any = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call] # its own
    nbformat.validate(notebook)
    source = "".join(cell.source for cell in notebook.cells)
    assert "MAX_RUNTIME = 7200" in source
    assert '"name": "ohwx"' in source or "'name': 'ohwx'" in source
    assert str(tmp_path) not in source
    assert not list((tmp_path / "state" / "trainings").glob("ohwx-*")), "nothing is begun"


def test_a_training_that_is_stopped_goes_on_and_one_that_fails_says_why(
    tmp_path: Path, train: Run, eventually: Callable[..., None]
) -> None:
    pictures(tmp_path / "photos")
    train("photos", *ASKED, "--set=steps=2000", "--no-follow")
    (folder,) = (tmp_path / "state" / "trainings").glob("ohwx-*")
    eventually((folder / "status.json").exists, 30.0)
    refused = train("photos", *ASKED, "--fresh")
    assert "is being trained" in refused.stderr
    stopped = train("stop", "ohwx")
    assert stopped.returncode == 0, stopped.stderr
    assert told(train)["state"] == "stopped"
    reached = told(train)["step"]

    (folder / "orders.json").write_text(json.dumps({"fail": "a.png cannot be read."}))
    failed = train("resume", "ohwx")
    assert failed.returncode == 1
    assert "failed while training: a.png cannot be read." in failed.stdout
    assert told(train)["step"] == reached
    assert "a.png cannot be read" in train("logs", "ohwx").stdout
    assert "failed while training" in train("list").stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("nowhere", *ASKED), "there is no such folder of pictures"),
        (("empty", *ASKED), "there are no pictures"),
        (("photos", "--name=ohwx"), "needs a --name and a --type"),
        (("photos", *ASKED, "--set=stepps=3"), "did you mean steps?"),
        (("photos", *ASKED, "--set=steps"), "is no NAME=VALUE"),
        (("photos", *ASKED, "--backend=nf4"), "FP16 or BF16"),
        (("photos", *ASKED, "--name=../x"), "cannot be a LoRA's name"),
        (("photos", *ASKED, "--unet=nothing.gguf"), "no model file 'nothing.gguf'"),
        (("stop", "nobody"), "there is no training 'nobody'"),
        (("logs", "nobody"), "none was begun yet"),
        (("fetch", "nobody"), "there is no training"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    tmp_path: Path,
    shared_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: tuple[str, ...],
    said: str,
) -> None:
    pictures(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VULCAN_STATE", "state")
    monkeypatch.setenv("VULCAN_FOLDERS__MODELS", str(shared_models))
    with pytest.raises((TrainingError, ModelError)) as refused:
        train_command.run(arguments.parse(["train", *typed]))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_is_told_and_nothing_is_made_where_nothing_was_begun(
    tmp_path: Path, train: Run
) -> None:
    assert train("status").stdout == "no trainings\n"
    assert list(tmp_path.iterdir()) == []


def test_the_verb_start_is_implied() -> None:
    assert with_verb(["photos", "--name", "x"]) == ["start", "photos", "--name", "x"]
    assert with_verb(["--name", "x", "photos"]) == ["start", "--name", "x", "photos"]
    assert with_verb(["status"]) == ["status"]
    assert with_verb(["./status"]) == ["start", "./status"]
    assert with_verb(["-h"]) == ["-h"]
    assert with_verb([]) == []
