import errno
from pathlib import Path

import pytest

from bridge.finding import Level
from core import doctor_watcher


def test_a_local_inbox_is_heard_and_left_as_it_was(tmp_path: Path) -> None:
    finding, *_ = doctor_watcher.findings(tmp_path)
    assert finding.level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_on_a_windows_drive_polling_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_watcher, "file_system", lambda _: "9p")
    (finding,) = doctor_watcher.findings(tmp_path)
    assert finding.level is Level.INFO
    assert "lies on 9p" in finding.what


def test_an_inbox_where_no_event_comes_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.inotify.Inotify.read", lambda _: [])
    finding, *_ = doctor_watcher.findings(tmp_path)
    assert finding.level is Level.WARNING
    assert "no event came" in finding.what


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EMFILE, "sudo sysctl"), (errno.EACCES, "folder above")]
)
def test_watches_that_are_used_up_come_with_the_command_to_raise_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(number, "no")

    monkeypatch.setattr("core.drop_hints.events_come", refuse)
    finding, *_ = doctor_watcher.findings(tmp_path)
    assert finding.level is Level.WARNING
    assert advice in finding.fix


def test_an_inbox_that_is_not_there_is_not_tried(tmp_path: Path) -> None:
    (finding,) = doctor_watcher.findings(tmp_path / "gone")
    assert finding.level is Level.INFO
    assert list(tmp_path.iterdir()) == []


def test_few_watches_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "max_user_watches"
    few.write_text("100\n")
    monkeypatch.setattr(doctor_watcher, "WATCHES", few)
    (tmp_path / "inbox").mkdir()
    _, watches = doctor_watcher.findings(tmp_path / "inbox")
    assert "100 folders" in watches.what
