"""The notebook's steps: what is refused, how it is told, and that nothing happens after it."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.micro import spec
from training import recipe, run_plan
from training.kaggle import known_files, model_file, pins, preflight, trainer_process
from training.kaggle.kernel_run import KernelRun, Order
from training.kaggle.places import Places
from training.kaggle.preflight import Accelerator, Machine
from training.kaggle.trainer_process import Ended
from training.progress import Stage, State, Status, write_status
from training.recipe import Preset
from training.run_plan import Backend, Plan

PLAN = Plan(
    name="zork",
    trigger="zork",
    preset=Preset.CONCEPT,
    backend=Backend.GGUF,
    base_name=spec.UNET_FILE,
    base_sha256="",
    recipe=recipe.load(Preset.CONCEPT, {}, micro=True),
)
TOKEN = "hf_never_to_be_seen"


class Bench:
    """A run in a temporary Kaggle, and what it said."""

    def __init__(self, folder: Path, accelerator: Accelerator = Accelerator.NONE) -> None:
        self.places = Places(folder / "input", folder / "working", folder / "temp")
        self.places.input.mkdir()
        plan = PLAN.model_dump(mode="json")
        order = Order(plan, known_files.of(PLAN), 3600, accelerator)
        self.said: list[str] = []
        self.run = KernelRun(order, self.places, {"HF_TOKEN": TOKEN}, self.said.append)

    @property
    def report(self) -> dict[str, Any]:
        table: dict[str, Any] = json.loads((self.places.working / "vulcan-kernel.json").read_text())
        return table

    def all_steps(self) -> None:
        for step in ("preflight", "install", "assets", "resume", "train", "export", "finish"):
            getattr(self.run, step)()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_wrong_card_is_told_in_the_report_and_in_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, Accelerator.T4)
    cards = preflight.parse_cards("Tesla P100-PCIE-16GB, 6.0, 16384\n")
    machine = Machine((3, 12), cards, 31 << 30, 70 << 30, 20 << 30)
    monkeypatch.setattr(preflight, "look", lambda _: machine)
    monkeypatch.setattr(pins, "missing", lambda *_: pytest.fail("went on"))
    bench.places.working.mkdir()
    bench.all_steps()
    assert (bench.report["state"], bench.report["code"]) == ("refused", "wrong_gpu")
    assert "P100" in bench.report["why"]
    assert "GPU T4 x2" in bench.report["fix"]
    assert bench.said[-1].startswith("Refused (wrong_gpu): this machine has a Tesla P100")
    left_out = [line.split(":")[0] for line in bench.said if "left out" in line]
    assert left_out == ["Packages", "Assets", "Earlier output", "Training"]


def test_the_room_for_what_is_not_mounted_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, Accelerator.T4)
    cards = preflight.parse_cards("Tesla T4, 7.5, 15360\n")
    machine = Machine((3, 12), cards, 31 << 30, 5 << 30, 20 << 30)
    monkeypatch.setattr(preflight, "look", lambda _: machine)
    bench.places.working.mkdir()
    bench.all_steps()
    assert bench.report["code"] == "disk"
    assert "room for the models" in bench.report["why"]


def test_a_base_that_is_nowhere_is_refused_with_the_steps(bench: Bench) -> None:
    bench.all_steps()
    assert (bench.report["state"], bench.report["code"]) == ("refused", "no_base")
    assert "Upload it once as a private Kaggle data set" in bench.report["fix"]
    assert bench.said[-1].startswith(f"Refused (no_base): {spec.UNET_FILE}")


def test_packages_that_cannot_be_installed_are_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ("no-such-package-of-vulcan @ file:///nowhere",)
    monkeypatch.setattr(pins, "missing", lambda *_: wanted)
    bench.run.preflight()
    bench.run.install()
    assert bench.report["code"] == "install"
    assert "Settings > Internet" in bench.report["fix"]


def prepare(bench: Bench, state: State, text: str = "") -> None:
    bench.run._folder.path.mkdir(parents=True, exist_ok=True)
    write_status(
        bench.run._folder.status,
        Status(state=state, stage=Stage.TRAIN, step=3, steps=9, text=text, lora="lora/a"),
    )


@pytest.mark.parametrize(
    ("code", "state", "outcome", "last"),
    [
        (0, State.DONE, "ok", "Done: lora/a after 9 updates."),
        (0, State.PAUSED, "ok", "Paused at train, 3 of 9: why. Run the notebook again"),
        (143, State.PAUSED, "ok", "Paused at train, 3 of 9"),
        (1, State.FAILED, "failed", "Failed: why. Its output is kept"),
        (137, State.RUNNING, "failed", "Failed: the trainer ended with 137 after saying: Killed."),
    ],
)
def test_how_the_trainer_ended_is_the_last_line(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    state: State,
    outcome: str,
    last: str,
) -> None:
    prepare(bench, state, "why")
    monkeypatch.setattr(trainer_process, "run", lambda *_: Ended(code, "Killed"))
    bench.run.train()
    bench.run.export()
    bench.run.finish()
    assert bench.report["state"] == outcome
    assert bench.said[-1].startswith(last)


def test_the_training_has_what_is_left_of_the_notebooks_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(bench, State.DONE)
    given: list[float] = []

    def note(_folder: object, seconds: float, *_: object) -> Ended:
        given.append(seconds)
        return Ended(0, "")

    monkeypatch.setattr(trainer_process, "run", note)
    bench.run._begun -= 600
    bench.run.train()
    bench.run._begun -= 3600
    bench.run.train()
    assert given == [pytest.approx(3000, abs=5), 60]


def test_the_output_holds_no_cache_and_no_path_of_the_machine(bench: Bench) -> None:
    folder = bench.run._folder
    prepare(bench, State.PAUSED)
    for name in ("cache/a.safetensors", "assets.json", "hashes.json"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("x")
    run_plan.write(folder.plan, PLAN)
    bench.run.export()
    assert sorted(path.name for path in folder.path.iterdir()) == ["run.json", "status.json"]


def test_a_token_is_never_shown_or_written(bench: Bench) -> None:
    bench.all_steps()
    assert TOKEN not in "\n".join(bench.said)
    written = [path for path in bench.places.working.rglob("*") if path.is_file()]
    assert written
    assert not any(TOKEN in path.read_text(errors="replace") for path in written)


def test_the_environment_says_where_things_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INPUT", "WORKING", "TEMP"):
        monkeypatch.setenv(f"VULCAN_KAGGLE_{name}", str(tmp_path / name))
    run = KernelRun.open(PLAN.model_dump(mode="json"), table(), 60, "none")
    assert run._places == Places(tmp_path / "INPUT", tmp_path / "WORKING", tmp_path / "TEMP")
    for name in ("INPUT", "WORKING", "TEMP"):
        monkeypatch.delenv(f"VULCAN_KAGGLE_{name}")
    run = KernelRun.open(PLAN.model_dump(mode="json"), table(), 60, "none")
    assert run._places == Places(*(Path("/kaggle") / name for name in ("input", "working", "temp")))


def table() -> dict[str, list[dict[str, Any]]]:
    return model_file.as_table(known_files.of(PLAN))
