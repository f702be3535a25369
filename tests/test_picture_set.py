"""A folder becomes a set: which files count, their captions, one hash."""

import os
from pathlib import Path

import pytest

from tests import dataset_kit
from training.dataset import picture_set
from training.errors import TrainingError


def test_the_trigger_is_put_in_front_of_what_lacks_it() -> None:
    cases = {
        "a hat": "ohwx, a hat",
        "": "ohwx",
        "[trigger] in a hat": "ohwx in a hat",
        "An Ohwx woman": "An Ohwx woman",
        "a nohwxy thing": "ohwx, a nohwxy thing",
    }
    for caption, wanted in cases.items():
        assert picture_set.with_trigger(caption, "ohwx") == wanted


def test_a_trigger_of_signs_is_taken_by_the_letter() -> None:
    assert picture_set.with_trigger("a b", "(.*)") == "(.*), a b"
    assert picture_set.with_trigger("my (.*) hat", "(.*)") == "my (.*) hat"


def test_hidden_files_links_in_circles_and_folders_do_not_count(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 1)
    (folder / ".thumbs").mkdir()
    for name in (".hidden.png", ".thumbs/b.png"):
        dataset_kit.scene(2).save(folder / name)
    (folder / "x.png").mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    os.mkfifo(folder / "pipe.png")
    assert [item.file for item in picture_set.read(folder, "ohwx").items] == ["0.png"]


def test_a_set_survives_writing_and_reading_whatever_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("new\nline.png", os.fsdecode(b"no \xff utf8.png"), "Grüße 花 \u202e.png"):
        dataset_kit.scene(len(name)).save(folder / name)
    found = picture_set.read(folder, "ohwx")
    assert len(found.items) == 3
    picture_set.write(tmp_path / "list.json", found)
    assert picture_set.load(tmp_path / "list.json") == found


def test_the_hash_follows_bytes_and_captions_not_names(tmp_path: Path) -> None:
    one = dataset_kit.folder(tmp_path / "one", 2)
    other = dataset_kit.folder(tmp_path / "other", 2)
    for suffix in (".png", ".txt"):
        (other / f"0{suffix}").rename(other / f"zero{suffix}")
    first = picture_set.read(one, "ohwx").hash
    assert picture_set.read(other, "ohwx").hash == first
    (other / "1.txt").write_text("ohwx elsewhere")
    assert picture_set.read(other, "ohwx").hash != first


def test_a_folder_without_pictures_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no pictures"):
        picture_set.read(tmp_path, "ohwx")
    with pytest.raises(TrainingError, match="no such folder"):
        picture_set.read(tmp_path / "none", "ohwx")
