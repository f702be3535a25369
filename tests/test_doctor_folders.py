import errno
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.finding import Finding, Level
from core import doctor_folders
from core.doctor_folders import Place


def found(place: Place) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor_folders.findings(place)}


def outbox(path: Path) -> Place:
    return Place("folders.outbox", path)


def test_a_folder_is_tried_by_writing_and_left_as_it_was(tmp_path: Path) -> None:
    findings = found(outbox(tmp_path))
    assert findings["folder.outbox"].level is Level.OK
    assert findings["disk.outbox"].level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_will_be_made_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    findings = found(outbox(tmp_path / "a" / "b"))
    assert findings["folder.outbox"].level is Level.INFO
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    finding = found(outbox(Path("/proc/self")))["folder.outbox"]
    assert finding.level is Level.PROBLEM
    assert "folders.outbox" in finding.fix


def test_a_file_in_the_folders_place_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("not a folder")
    for path in (tmp_path / "outbox", tmp_path / "outbox" / "below"):
        assert found(outbox(path))["folder.outbox"].level is Level.PROBLEM


def test_a_link_that_leads_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "outbox").symlink_to(tmp_path / "gone")
    assert found(outbox(tmp_path / "outbox"))["folder.outbox"].level is Level.PROBLEM


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "chown"),
    ],
)
def test_the_fix_depends_on_what_the_kernel_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("os.fsync", refuse)
    finding = found(outbox(tmp_path))["folder.outbox"]
    assert finding.level is Level.PROBLEM
    assert advice in finding.fix
    assert list(tmp_path.iterdir()) == []


def test_little_room_is_a_warning_and_none_a_problem(tmp_path: Path) -> None:
    place = replace(outbox(tmp_path), wanted=1 << 60)
    assert found(place)["disk.outbox"].level is Level.WARNING
    assert found(replace(place, needed=1 << 60))["disk.outbox"].level is Level.PROBLEM


def test_state_on_a_windows_drive_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("state", tmp_path, local=True)
    assert found(place)["folder.state-disk"].level is Level.OK
    monkeypatch.setattr(doctor_folders, "file_system", lambda _: "9p")
    finding = found(place)["folder.state-disk"]
    assert finding.level is Level.PROBLEM
    assert "VULCAN_STATE" in finding.fix


def test_a_folder_that_is_only_read_is_not_written(tmp_path: Path) -> None:
    place = Place("folders.models", tmp_path, writes=False)
    assert found(place)["folder.models"].what == f"{tmp_path} can be read"
