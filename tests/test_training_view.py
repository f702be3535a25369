"""How far a training is, from what its trainer wrote."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core import training_view
from core.training_record import Phase, State
from core.training_view import Tail, View
from tests.train_kit import training
from training.progress import Event, Happened, Stage


def event(kind: str, **facts: Any) -> str:
    return json.dumps({"event": kind, "at": 1.0, "stage": "train", **facts}) + "\n"


def test_steps_samples_and_skips_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text(
        event("stage", stage="encode", steps=4)
        + event("step", step=4, steps=10, loss=0.5, seconds=2.0, vram=3 * 10**9)
        + event("step", step=5, steps=10, loss=0.25, seconds=2.0, vram=10**9)
        + event("skip", step=6)
        + event("sample", file="samples/step-000005-1.png")
    )
    tail = Tail(tmp_path)
    tail.look()
    assert tail.view.seconds_left == 10.0
    told = training_view.steps_line(tail.view)
    assert told == (
        "train 5/10, loss 0.2500, 2.00 s a step, 10 s left, 3.0 GB of the card, 1 updates left out"
    )
    assert training_view.samples(training(tmp_path), tail.view) == [
        tmp_path / "samples/step-000005-1.png"
    ]


def test_a_line_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path, tail = tmp_path / "progress.jsonl", Tail(tmp_path)
    assert tail.look() == []
    line = event("step", step=1, steps=2)
    path.write_text(line[:20])
    assert tail.look() == []
    with path.open("a") as file:
        file.write(line[20:] + "no JSON\n" + line)
    assert len(tail.look()) == 2
    assert tail.look() == []


def test_a_file_that_was_fetched_anew_is_read_anew(tmp_path: Path) -> None:
    path, tail = tmp_path / "progress.jsonl", Tail(tmp_path)
    path.write_text(event("step", step=7, steps=9))
    tail.look()
    other = tmp_path / "other"
    other.write_text(event("step", step=3, steps=9) + event("step", step=4, steps=9))
    other.replace(path)
    tail.look()
    assert tail.view.step == 4


def test_another_stage_counts_anew() -> None:
    view = View(stage="encode", step=5, steps=5, seconds=1.0)
    begun = training_view.after(view, Event(event=Happened.STAGE, at=1.0, stage=Stage.TRAIN))
    assert (begun.stage, begun.step, begun.steps, begun.seconds_left) == ("train", 0, 0, None)


@given(st.lists(st.floats(0, 1e9, allow_nan=False), max_size=50).map(tuple))
def test_a_curve_has_a_bar_for_each_loss(losses: tuple[float, ...]) -> None:
    assert len(training_view.curve(losses)) == (len(losses) if len(losses) > 1 else 0)


def test_a_worker_that_is_gone_is_told_from_one_that_works(tmp_path: Path) -> None:
    row = training(tmp_path, state=State.WORKING, phase=Phase.TRAINING)
    assert training_view.headline(row, at_work=True) == "training"
    assert training_view.headline(row, at_work=False) == "training, but its worker is gone"
    assert "train resume ohwx" in training_view.how_to_go_on(row)
