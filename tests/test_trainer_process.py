"""The trainer as the notebook's child: what is shown of it, and how it is stopped."""

import os
import signal
import threading
from pathlib import Path

import pytest

from training.kaggle import trainer_process
from training.kaggle.event_lines import EventLines
from training.progress import Event, Happened, Journalist, Stage
from training.run_folder import RunFolder

# Stands for the trainer: says what its run folder's script says.
STAND_IN = """
import pathlib, runpy, sys
runpy.run_path(str(pathlib.Path(sys.argv[1]) / "script.py"))
"""


def event(kind: Happened, at: float = 0.0, **facts: object) -> Event:
    return Event.model_validate({"event": kind, "at": at, "stage": Stage.TRAIN, **facts})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    package = tmp_path / "source" / "training"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STAND_IN)
    return package.parent


def prepared(tmp_path: Path, script: str) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    (folder.path / "script.py").write_text(script)
    return folder


def test_what_it_prints_and_what_it_writes_down_is_shown(tmp_path: Path, source: Path) -> None:
    line = event(Happened.NOTE, text="20 pictures").model_dump_json()
    folder = prepared(
        tmp_path,
        "import sys\n"
        "print('loading', sys.argv[2:])\n"
        f"open({str(tmp_path / 'run' / 'progress.jsonl')!r}, 'a').write({line!r} + chr(10))\n"
        "sys.exit('it failed')\n",
    )
    said: list[str] = []
    ended = trainer_process.run(folder, 3600.4, source, said.append)
    assert (ended.code, ended.last) == (1, "it failed")
    assert sorted(said) == ["it failed", "loading ['--max-runtime', '3600']", "train: 20 pictures"]


def test_what_was_told_in_an_earlier_run_is_not_shown_again(tmp_path: Path, source: Path) -> None:
    folder = prepared(tmp_path, "")
    journalist = Journalist(folder.progress)
    journalist.tell(event(Happened.NOTE, text="of yesterday"))
    journalist.close()
    said: list[str] = []
    assert trainer_process.run(folder, 60, source, said.append).code == 0
    assert not said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_handed_on_and_the_trainer_may_save(
    tmp_path: Path, source: Path, number: signal.Signals
) -> None:
    folder = prepared(
        tmp_path,
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    print('saved', flush=True)\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n",
    )
    before = signal.getsignal(number)
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line == "ready":
            os.kill(os.getpid(), number)

    ended = trainer_process.run(folder, 60, source, hear)
    assert (ended.code, said) == (143, ["ready", "saved"])
    assert signal.getsignal(number) is before


def test_it_runs_from_another_thread_too(tmp_path: Path, source: Path) -> None:
    folder = prepared(tmp_path, "print('here')")
    said: list[str] = []
    arguments = (folder, 60.0, source, said.append)
    thread = threading.Thread(target=trainer_process.run, args=arguments)
    thread.start()
    thread.join(30)
    assert said == ["here"]


# --- the lines ---


def test_updates_are_shown_now_and_then_and_the_last_always() -> None:
    lines = EventLines(every=30)
    shown = [
        line
        for at in range(100)
        for line in lines.of(event(Happened.STEP, at, step=at + 1, steps=100, loss=0.5, seconds=6))
    ]
    steps = [line.split(",")[0] for line in shown]
    assert steps == ["train: 1 of 100", *(f"train: {n} of 100" for n in (31, 61, 91, 100))]
    assert shown[1] == "train: 31 of 100, loss 0.5000, 6.00 s each, 7 min left"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event(Happened.STAGE), "-- train"),
        (event(Happened.NOTE, text="goes on"), "train: goes on"),
        (event(Happened.SKIP, text="left out"), "train: left out"),
        (event(Happened.CHECKPOINT, step=1250), "train: checkpoint at 1,250"),
        (event(Happened.SAMPLE, file="samples/a.png"), "train: drew samples/a.png"),
        (
            event(Happened.STEP, step=1, steps=1, vram=10_100_000_000),
            "train: 1 of 1, 10.1 GB",
        ),
    ],
)
def test_each_event_is_one_line(told: Event, line: str) -> None:
    assert list(EventLines().of(told)) == [line]


def test_the_end_is_told_by_others() -> None:
    assert not list(EventLines().of(event(Happened.END)))
