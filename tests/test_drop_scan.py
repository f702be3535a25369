import logging
from pathlib import Path

import pytest

from core import drop_scan
from core.drop_scan import listings
from core.notices import Notices


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(drop_scan, "PASSING", 0.0)
    caplog.set_level(logging.INFO)


def scan(inbox: Path) -> dict[str, list[str]]:
    watched: list[str] = []
    found = {
        listing.batch: sorted(entry.name for entry in listing.prompts)
        for listing in listings(str(inbox), watched.append, Notices(lambda: 0.0))
    }
    assert sorted(watched) == sorted(str(inbox / batch) for batch in found)
    return found


def test_each_folder_is_listed_with_its_prompt_files(tmp_path: Path) -> None:
    for name in ("a.txt", "B.TOML", "one/c.md", "one/two/d.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert scan(tmp_path) == {
        "": ["B.TOML", "a.txt"],
        "one": ["c.md"],
        "one/two": ["d.yml"],
    }


def test_what_is_no_prompt_file_is_told_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("notes.doc", "a.txt.error.md", "desktop.ini", "~$a.txt", "pose.png"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    assert scan(tmp_path) == {"": []}
    assert "notes.doc is no prompt file (.json .md" in caplog.text
    assert "a.txt.error.md tells what was wrong" in caplog.text
    assert "link is a link to a folder" in caplog.text
    assert "circle.txt cannot be looked at: Too many levels" in caplog.text
    assert "desktop" not in caplog.text
    assert "pose" not in caplog.text, "its prompt file may still come"


def test_a_lone_picture_is_told_after_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_scan, "LONE_PICTURE", 0.0)
    for name in ("pose.png", "other.png", "other.txt"):
        (tmp_path / name).write_text("x")
    scan(tmp_path)
    assert "picture pose.png, until a prompt file with its name comes (pose.txt)" in caplog.text
    assert "other" not in caplog.text


def test_of_several_pictures_the_kind_decides(tmp_path: Path) -> None:
    for name in ("a.webp", "a.JPG", "a.Png", "a.jpeg"):
        (tmp_path / name).write_text("x")
    (listing,) = listings(str(tmp_path), lambda path: None, Notices(lambda: 0.0))
    assert {stem: entry.name for stem, entry in listing.images.items()} == {"a": "a.Png"}


def test_an_unreadable_inbox_is_the_callers_trouble(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "nowhere")
