"""A cleaned copy: what is in it, what is not, and that nothing else changes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import dataset_kit
from tests.dataset_kit import RECIPE, NoFaces, scene
from training.dataset import check, picture_set, preparation
from training.dataset.check import Report
from training.dataset.faces import Box
from training.errors import TrainingError
from training.recipe import Preset


def checked(folder: Path) -> Report:
    return check.check(folder, "ohwx", RECIPE, Preset.CONCEPT, detector=NoFaces)


class Parrot:
    """A captioner that says one thing."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def caption(self, image: Image.Image) -> str:
        self.sizes.append(image.size)
        return "a parrot"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_copy_has_the_same_pixels_and_is_sound(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set")
    (folder / "0.txt").unlink()
    (folder / "1.txt").write_bytes("Grüße".encode("utf-16"))
    before = content(folder)
    done = preparation.prepare(checked(folder), tmp_path / "copy")
    assert content(folder) == before
    assert len(done.written) == 9
    copy = checked(done.target)
    assert copy.findings == checked(done.target).notes
    assert [item.caption for item in copy.pictures.items] == [
        item.caption for item in picture_set.read(folder, "ohwx").items
    ]
    assert (done.target / "1.txt").read_text() == "ohwx, Grüße\n"
    with Image.open(done.target / "3.png") as image:
        assert image.tobytes() == scene(3).tobytes()


def test_copies_are_upright_and_say_nothing_of_place_or_camera(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera"
    scene(1, 90, 70).save(folder / "sub" / "a.jpg", exif=exif.tobytes())
    done = preparation.prepare(checked(folder), tmp_path / "copy")
    with Image.open(done.target / "sub" / "a.png") as image:
        assert (image.size, image.mode, image.info) == ((70, 90), "RGB", {})


def test_broken_small_and_doubled_pictures_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set")
    (folder / "00 copy.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "empty.png").touch()
    scene(5, 20, 20).save(folder / "small.png")
    done = preparation.prepare(checked(folder), tmp_path / "copy")
    assert done.left_out["00 copy.png"] == "the same as 0.png", "the one with a caption stays"
    assert set(done.left_out) == {"00 copy.png", "empty.png", "small.png"}
    assert len(list(done.target.glob("*.png"))) == 9


def test_near_duplicates_stay_unless_asked_and_the_sharpest_is_kept(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set")
    scene(0).resize((60, 60)).resize((96, 96)).save(folder / "soft.png")
    report = checked(folder)
    assert preparation.prepare(report, tmp_path / "all").left_out == {}
    done = preparation.prepare(report, tmp_path / "some", drop_near=True)
    assert done.left_out == {"soft.png": "nearly the same as 0.png"}


def test_only_pictures_without_a_caption_are_captioned_unless_asked(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 3)
    (folder / "1.txt").unlink()
    parrot = Parrot()
    done = preparation.prepare(checked(folder), tmp_path / "copy", captioner=parrot)
    assert (done.captioned, parrot.sizes) == (("1.png",), [(96, 96)])
    assert (done.target / "1.txt").read_text() == "ohwx, a parrot\n"
    again = preparation.prepare(checked(folder), tmp_path / "2", captioner=parrot, again=True)
    assert len(again.captioned) == 3


def test_nothing_that_exists_is_written_over(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 1)
    report = checked(folder)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(folder)
    for name in ("file", "full", "link", "round/in", "set", "set/in", "."):
        with pytest.raises(TrainingError, match="the copy cannot be written there"):
            preparation.prepare(report, tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert preparation.prepare(report, tmp_path / "empty").written == {"0.png": "0.png"}


def test_a_copy_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 3)
    report = checked(folder)
    (folder / "1.png").unlink()
    with pytest.raises(TrainingError):
        preparation.prepare(report, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_set_of_nothing_usable_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").touch()
    with pytest.raises(TrainingError, match="no picture is left"):
        preparation.prepare(checked(folder), tmp_path / "copy")


def test_crops_lie_in_their_own_folder(tmp_path: Path) -> None:
    folder = dataset_kit.folder(tmp_path / "set", 2, 200, 200)
    report = check.check(
        folder, "ohwx", RECIPE, Preset.CHARACTER, detector=lambda: OneFace(Box(20, 20, 25, 25))
    )
    assert set(report.crops) == set()
    report = check.check(
        folder, "ohwx", RECIPE, Preset.CHARACTER, detector=lambda: OneFace(Box(20, 20, 29, 29))
    )
    done = preparation.prepare(report, tmp_path / "copy", crops=tmp_path / "crops")
    assert (done.crops, len(list((tmp_path / "copy").glob("*.png")))) == (2, 2)
    with Image.open(tmp_path / "crops" / "0.png") as image:
        assert image.size == (64, 64)


class OneFace:
    """A detector that always sees the same face."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def find(self, _rgb: object) -> tuple[Box, ...]:
        return (self.box,)


def test_crops_cannot_lie_in_the_copy_where_they_would_be_trained(tmp_path: Path) -> None:
    report = checked(dataset_kit.folder(tmp_path / "set", 1))
    for crops in ("copy", "copy/crops", "set/crops"):
        with pytest.raises(TrainingError, match="must not lie in each other"):
            preparation.prepare(report, tmp_path / "copy", crops=tmp_path / crops)
    assert not (tmp_path / "copy").exists()


def test_names_are_made_fit_and_stay_apart() -> None:
    names = preparation.safe_names(
        ["a.png", "a.jpg", "A.webp", "new\nline.png", os.fsdecode(b"sub/\xff.png"), "x" * 300]
    )
    assert list(names.values()) == [
        *("a.png", "a-2.png", "A-3.png", "new_line.png", "sub/_.png", "x" * 100 + ".png"),
    ]


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda t: "/" not in t), unique=True))
def test_any_names_give_as_many_that_lead_nowhere_else(files: list[str]) -> None:
    names = preparation.safe_names([f"{file}.png" for file in files])
    assert len({name.casefold() for name in names.values()}) == len(files)
    for name in names.values():
        assert name.isprintable() or name.encode()
        assert ".." not in Path(name).parts
        assert not Path(name).is_absolute()
        assert name.endswith(".png")
