"""What is found by names alone."""

import os
from pathlib import Path

from training.dataset import folder_checks


def codes(folder: Path, pictures: list[str], *others: str) -> dict[str, tuple[str, ...]]:
    found = folder_checks.check(folder, pictures, [*pictures, *others])
    return {one.code: one.files for one in found}


def test_sound_names_have_no_finding(tmp_path: Path) -> None:
    names = ["a.png", "sub/a.png", "Grüße 花.jpg"]
    assert codes(tmp_path, names, "a.txt", "sub/a.txt", "README.txt", "licence.txt") == {}


def test_names_that_a_cloud_cannot_keep_are_told(tmp_path: Path) -> None:
    odd = ["new\nline.png", os.fsdecode(b"\xff.png")]
    assert codes(tmp_path, [*odd, "a.png"]) == {"odd-name": tuple(odd)}


def test_names_that_windows_takes_for_one_are_told(tmp_path: Path) -> None:
    assert codes(tmp_path, ["a.png", "A.png", "b.png"]) == {"same-name": ("a.png", "A.png")}


def test_two_pictures_of_one_caption_are_told(tmp_path: Path) -> None:
    assert codes(tmp_path, ["a.png", "a.jpg"]) == {"shared-caption": ("a.png", "a.jpg")}


def test_captions_of_nothing_are_told_and_so_is_a_large_ending(tmp_path: Path) -> None:
    found = codes(tmp_path, ["a.png"], "a.TXT", "b.txt", "a.caption")
    assert found == {"orphan-caption": ("a.TXT", "b.txt", "a.caption")}


def test_pictures_of_other_kinds_are_told(tmp_path: Path) -> None:
    assert codes(tmp_path, ["a.png"], "b.gif", "c.AVIF") == {"other-kind": ("b.gif", "c.AVIF")}


def test_what_is_called_like_a_picture_but_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "real.png").touch()
    found = codes(tmp_path, ["real.png"])
    assert found == {"no-file": ("folder.png", "link.jpg", "pipe.png")}
