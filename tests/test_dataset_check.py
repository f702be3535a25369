"""A folder is checked as a whole: what is found, what a training would take, on bad input too."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from tests import dataset_kit
from tests.dataset_kit import RECIPE, NoFaces, scene
from training.buckets import Bucket
from training.dataset import check, facts, picture_set
from training.dataset.check import Report
from training.errors import TrainingError
from training.recipe import Preset


def checked(folder: Path, preset: Preset = Preset.CONCEPT) -> Report:
    return check.check(folder, "ohwx", RECIPE, preset, detector=NoFaces)


def codes(report: Report) -> dict[str, tuple[str, ...]]:
    return {one.code: one.files for one in report.findings}


def test_a_sound_set_has_neither_errors_nor_warnings(tmp_path: Path) -> None:
    report = checked(dataset_kit.folder(tmp_path / "set"))
    assert (report.errors, report.warnings) == ((), ())
    assert report.buckets == {64: {Bucket(64, 64): 9}}


def test_what_is_checked_is_what_a_training_would_read(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set")
    (folder / "sub").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 8
    scene(50, 100, 70).save(folder / "sub" / "a.jpg", exif=exif.tobytes())
    assert checked(folder).pictures == picture_set.read(folder, "ohwx")


def test_everything_bad_is_found_and_nothing_stops_the_rest(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set")
    whole = (folder / "0.png").read_bytes()
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "same.png").write_bytes(whole)
    (folder / "x.png").mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "new\nline.png").write_bytes(whole)
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (20_000, 64)).save(folder / "wide.png")
    scene(1).resize((48, 48)).save(folder / "small.png")
    scene(77).filter(ImageFilter.GaussianBlur(9)).save(folder / "blurred.png")
    first, second = scene(90), scene(91)
    first.save(folder / "moving.webp", save_all=True, append_images=[second])
    first.save(folder / "moving.gif")
    (folder / "1.txt").write_bytes("ohwx, Grüße".encode("utf-16"))
    (folder / "2.txt").write_bytes("ohwx, Grüße".encode("cp1252"))
    report = checked(folder)
    found = codes(report)
    assert found["no-file"] == ("x.png",)
    assert found["odd-name"] == ("new\nline.png",)
    assert set(found["duplicate"]) == {"0.png", "same.png", "new\nline.png"}
    assert found["animated"] == ("moving.webp",)
    assert found["other-kind"] == ("moving.gif",)
    assert {file for one in report.errors for file in one.files} == {
        *("empty.png", "text.png", "cut.png", "one.png"),
    }
    by_code = {(one.code, one.files) for one in report.findings}
    for expected in (
        ("blurred", ("blurred.png",)),
        ("enlarged", ("small.png",)),
        ("extreme-shape", ("wide.png",)),
        ("caption-encoding", ("1.png",)),
        ("caption-encoding", ("2.png",)),
    ):
        assert expected in by_code
    assert len(report.captions) == len(report.pictures.items) + 3, "three cannot be read"


def test_findings_come_worst_first_and_together(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 3)
    (folder / "empty.png").touch()
    (folder / "0.txt").write_text("no trigger")
    kinds = [one.severity for one in checked(folder).findings]
    assert kinds == sorted(kinds, key=["error", "warning", "note"].index)
    assert kinds[0] == "error"


def test_a_name_that_is_no_utf8_can_be_told(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    scene(1).save(folder / os.fsdecode(b"\xff\xfe.png"))
    report = checked(folder)
    assert "odd-name" in codes(report)
    assert json.loads(json.dumps(facts.of(report)))["pictures"][0]["width"] == 96


def test_an_empty_folder_is_an_error_and_a_missing_one_a_refusal(tmp_path: Path) -> None:
    assert codes(checked(tmp_path)) == {"no-pictures": ()}
    with pytest.raises(TrainingError, match="no such folder"):
        checked(tmp_path / "none")


def test_a_caption_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.dataset import caption_file

    def refused(picture: Path) -> None:
        raise TrainingError("cannot be read", path=caption_file.beside(picture))

    folder = dataset_kit.folder(tmp_path / "set", 1)
    monkeypatch.setattr(caption_file, "read", refused)
    assert [one.code for one in checked(folder).errors] == ["unreadable"]


def test_faces_are_looked_for_and_crops_proposed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    whole = Image.new("RGB", (1600, 1600), (70, 80, 90))
    whole.paste(dataset_kit.face(400), (900, 100))
    whole.save(folder / "figure.png")
    dataset_kit.face(500, 0.7).save(folder / "close.png")
    report = check.check(folder, "ohwx", RECIPE, Preset.CHARACTER)
    assert set(report.crops) == {"figure.png"}
    box = report.crops["figure.png"]
    assert 900 < box.left + box.width / 2 < 1300
    assert 100 < box.top + box.height / 2 < 500


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 3)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    checked(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
