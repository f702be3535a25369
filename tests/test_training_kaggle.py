"""A worker's phases with Kaggle's real package and a stand-in that runs what was pushed."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from configs import settings as configs
from core import training_process, training_setup
from core.training_child import Stop
from core.training_cloud import Pace
from core.training_kaggle import Kaggle
from core.training_record import PHASES, Phase, Training, Where
from core.training_setup import Wanted
from core.training_table import Trainings
from core.training_work import Site, Work
from models.micro import micro_set
from tests.kaggle_kit import at_home
from tests.kaggle_stand_in.kaggle_site import Runner
from tests.kaggle_stand_in.server import standing_in
from tests.train_kit import pictures, training
from training.recipe import Preset
from training.run_folder import RunFolder

# In the notebook's stead: the first run pauses, the second goes on and is done.
TRAINER = """
import hashlib, json, os, pathlib, shutil, sys
source, working = (pathlib.Path(os.environ["VULCAN_KAGGLE_" + n]) for n in ("INPUT", "WORKING"))
(data,) = source.glob("*-data")
assert (data / "run.json").is_file() and list(data.glob("*.gguf"))
run = working / "run"
(run / "lora").mkdir(parents=True)
(working / "vulcan-kernel.json").write_text(json.dumps({"state": "ok"}))
again = list(source.glob("*/run/status.json"))
table = {"state": "done" if again else "paused", "stage": "train", "step": 6, "steps": 6}
if again:
    shutil.copy(sys.argv[1], run / "lora" / "ohwx.safetensors")
    content = (run / "lora" / "ohwx.safetensors").read_bytes()
    table |= {"lora": "lora/ohwx.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
print("train: 6 of 6", flush=True)
(run / "status.json").write_text(json.dumps(table))
"""


def trainer(lora: Path) -> Runner:
    def run(notebook: Path, inputs: Path, working: Path) -> "subprocess.Popen[str]":
        assert json.loads(notebook.read_text())["nbformat"] == 4
        places = {"VULCAN_KAGGLE_INPUT": str(inputs), "VULCAN_KAGGLE_WORKING": str(working)}
        return subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", TRAINER, str(lora)],
            env={**os.environ, **places},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def begun(
    table: Trainings, settings: configs.Settings, photos: Path, folder: Path, name: str = "d"
) -> Training:
    wanted = Wanted(photos, "ohwx", Preset.CHARACTER, Where.KAGGLE, {"steps": "6"})
    setup = training_setup.find(wanted, settings, lambda _what, _share: None)
    row = training(
        folder,
        id=f"0000abc{name}",
        place=Where.KAGGLE,
        phase=Phase.UPLOADING,
        unet=setup.edge,
    )
    training_setup.make(folder, setup)
    table.add(row)
    return row


def test_a_training_goes_to_kaggle_pauses_goes_on_and_comes_back_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(Pace, "pauses", lambda _self: iter(lambda: 0.05, None))
    lora = micro_set.place(micro_set.SHIPPED).lora
    with standing_in(tmp_path / "kaggle", trainer(lora)) as stand_in:
        environ = {
            "VULCAN_STATE": str(tmp_path / "state"),
            "VULCAN_FOLDERS__MODELS": str(tmp_path / "models"),
            "VULCAN_TRAINING__KAGGLE_ENDPOINT": stand_in.endpoint,
        }
        settings = configs.load(None, None, environ)
        settings.state.mkdir()
        with closing(Trainings(settings.state, time.time)) as table:
            row = begun(table, settings, pictures(tmp_path / "photos"), tmp_path / "ohwx-1")
            seen = played(row.id, table, Site(settings, "training", 0.0, ()))
            end = table.get(row.id)
    turn = [Phase.PUSHING, Phase.RUNNING, Phase.FETCHING]
    assert seen == [Phase.UPLOADING, *turn, *turn, Phase.CHECKING, Phase.PAIRING]
    assert (end.version, end.reached) == (2, 6)
    assert end.slug.startswith("vulcan-ohwx-")
    assert RunFolder(end.folder).lora("ohwx").read_bytes() == lora.read_bytes()
    assert (tmp_path / "models" / "loras" / "ohwx.safetensors").read_bytes() == lora.read_bytes()
    assert (tmp_path / "models" / "pairs" / "ohwx.json").is_file()
    secret = os.environ["KAGGLE_API_TOKEN"].encode()
    kept = [path for path in (*settings.state.rglob("*"), *end.folder.rglob("*")) if path.is_file()]
    assert not [path for path in kept if secret in path.read_bytes()]


def test_a_run_pauses_before_the_week_s_quota_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home(monkeypatch, tmp_path / "home")
    with standing_in(tmp_path / "kaggle", None) as stand_in:
        environ = {
            "VULCAN_STATE": str(tmp_path / "state"),
            "VULCAN_FOLDERS__MODELS": str(tmp_path / "models"),
            "VULCAN_TRAINING__KAGGLE_ENDPOINT": stand_in.endpoint,
        }
        settings = configs.load(None, None, environ)
        settings.state.mkdir()
        photos = pictures(tmp_path / "photos")
        limits = []
        for number, left in enumerate((30.0, 3.0)):
            stand_in.site.behaviour.gpu_hours_used = 30.0 - left
            with closing(Trainings(settings.state, time.time)) as table:
                row = begun(table, settings, photos, tmp_path / f"ohwx-{number}", str(number))
            Kaggle(row, settings, 0.0, lambda _seconds: None).upload()
            (file,) = (row.folder / "kaggle" / "kernel").glob("*.ipynb")
            limits += re.findall(r"MAX_RUNTIME = (\d+)", file.read_text())
    assert limits == ["39600", "9000"]  # 11 hours, and half an hour less than are left


def played(training: str, table: Trainings, site: Site) -> list[Phase]:
    """Do all phases but the last, which needs a director."""
    seen, phase = [], table.get(training).phase
    lock = training_process.take(table.get(training).folder)
    try:
        while phase is not PHASES[Where.KAGGLE][-1]:
            seen.append(phase)
            table.moved(training, phase=phase)
            following = Work(table.get(training), table, site, Stop(), lock).do(phase)
            assert following is not None
            phase = following
    finally:
        os.close(lock)
    return seen
