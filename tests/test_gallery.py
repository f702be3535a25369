import json
from dataclasses import replace
from pathlib import Path

import pytest

from core import gallery
from core.gallery import Provenance
from tests.sample_request import REQUEST


def test_the_record_has_what_a_picture_is_made_again_with() -> None:
    record = json.loads(gallery.record(REQUEST, Provenance("aa", {"l": "bb"}, "ComfyUI 1")))
    assert record["request"]["seed"] == REQUEST.seed
    assert record["unet_sha256"] == "aa"
    assert record["lora_sha256"] == {"l": "bb"}
    assert record["host"] == "ComfyUI 1"


def test_the_record_depends_on_the_request_alone() -> None:
    made = Provenance("aa", {}, "x")
    assert gallery.record(REQUEST, made) == gallery.record(replace(REQUEST), made)
    assert gallery.record(REQUEST, made) != gallery.record(replace(REQUEST, seed=2), made)


def test_names_that_are_taken_are_stepped_around_together(tmp_path: Path) -> None:
    assert gallery.choose_paths(tmp_path, "a", 1) == [tmp_path / "a.png"]
    (tmp_path / "a_2.png").touch()
    assert [path.name for path in gallery.choose_paths(tmp_path, "a", 2)] == [
        "a~2_1.png",
        "a~2_2.png",
    ]


def test_saving_again_changes_nothing_and_leaves_no_scraps(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.png"]
    gallery.save(paths, [b"x"])
    gallery.save(paths, [b"x"])
    assert [path.name for path in paths[0].parent.iterdir()] == ["a.png"]
    assert paths[0].read_bytes() == b"x"


def test_a_save_cut_off_before_its_rename_is_taken_over_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands in for kill -9: nothing that follows it runs."""

    def killed(*_: object) -> None:
        raise Killed

    path = tmp_path / "a.png"
    with monkeypatch.context() as patched:
        patched.setattr("models.store.publish", killed)
        with pytest.raises(Killed):
            gallery.save([path], [b"longer than the picture"])
    assert list(tmp_path.iterdir()) == [tmp_path / ".a.png.part"]
    gallery.save([path], [b"picture"])
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"picture"
