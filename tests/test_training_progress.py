import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import progress
from training.errors import TrainingError
from training.progress import Event, Happened, Journalist, Stage, State, Status


def event(step: int) -> Event:
    return Event(event=Happened.STEP, at=1.0, stage=Stage.TRAIN, step=step, loss=0.5)


def test_events_are_read_back_as_they_were_told(tmp_path: Path) -> None:
    path = tmp_path / "run" / "progress.jsonl"
    journalist = Journalist(path)
    for step in range(3):
        journalist.tell(event(step))
    journalist.close()
    assert list(progress.read(path)) == [event(0), event(1), event(2)]
    assert list(progress.read(path, skip=2)) == [event(2)]


def test_a_line_that_a_kill_cut_short_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    journalist = Journalist(path)
    journalist.tell(event(1))
    journalist.tell(event(2))
    journalist.close()
    path.write_bytes(path.read_bytes()[:-9])
    after = Journalist(path)
    after.tell(event(3))
    after.close()
    assert [one.step for one in progress.read(path)] == [1, 3]


@given(st.text())
def test_any_line_is_an_event_or_nothing(line: str) -> None:
    found = progress.parse(line)
    assert found is None or isinstance(found, Event)


def test_no_file_is_no_events(tmp_path: Path) -> None:
    assert list(progress.read(tmp_path / "none")) == []
    assert progress.read_status(tmp_path / "none") is None


def test_the_status_is_read_back(tmp_path: Path) -> None:
    status = Status(state=State.PAUSED, stage=Stage.TRAIN, step=3, steps=9, text="why")
    progress.write_status(tmp_path / "status.json", status)
    assert progress.read_status(tmp_path / "status.json") == status


def test_a_damaged_status_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "sideways"}))
    with pytest.raises(TrainingError, match="cannot be read"):
        progress.read_status(tmp_path / "status.json")
