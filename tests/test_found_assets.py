"""Model files and pictures are found below Kaggle's inputs by their bytes, wherever they lie."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from models import store
from training.kaggle import found_assets
from training.kaggle.model_file import Files, ModelFile, Role
from training.kaggle.refusal import Code, RefusalError

CONTENT = b"the very base that will render"
BASE = ModelFile("base.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path.parent


@pytest.mark.parametrize(
    "place", ["base.gguf", "models/base.gguf", "datasets/me/models/unet/base.gguf", "renamed.gguf"]
)
def test_a_file_is_found_at_any_depth_and_under_another_name(tmp_path: Path, place: str) -> None:
    path = put(tmp_path / "input" / place)
    assert found_assets.find(tmp_path / "input", (BASE,), tmp_path / "hashes.json") == path


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"X"])
def test_a_file_with_other_bytes_is_not_taken_whatever_its_name(
    tmp_path: Path, content: bytes
) -> None:
    path = put(tmp_path / "input" / "base.gguf", content)
    assert found_assets.find(tmp_path / "input", (BASE,), tmp_path / "hashes.json") is None
    assert found_assets.misfits(tmp_path / "input", (BASE,)) == (path,)


def test_the_right_one_of_two_with_the_same_name_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "input" / "a" / "base.gguf", CONTENT[::-1])
    right = put(tmp_path / "input" / "b" / "base.gguf")
    assert found_assets.find(tmp_path / "input", (BASE,), tmp_path / "hashes.json") == right


def test_the_preferred_file_is_taken_before_another_that_would_do(tmp_path: Path) -> None:
    other = ModelFile("other.gguf", 5, hashlib.sha256(b"other").hexdigest())
    put(tmp_path / "input" / "a" / "other.gguf", b"other")
    path = put(tmp_path / "input" / "z" / "base.gguf")
    assert found_assets.find(tmp_path / "input", (BASE, other), tmp_path / "h.json") == path
    path.unlink()
    found = found_assets.find(tmp_path / "input", (BASE, other), tmp_path / "h.json")
    assert found is not None
    assert found.name == "other.gguf"


def test_a_file_of_unknown_size_is_found_by_name_and_hash(tmp_path: Path) -> None:
    file = ModelFile(BASE.name, 0, BASE.sha256)
    put(tmp_path / "input" / "renamed.gguf")
    assert found_assets.find(tmp_path / "input", (file,), tmp_path / "h.json") is None
    path = put(tmp_path / "input" / "base.gguf")
    assert found_assets.find(tmp_path / "input", (file,), tmp_path / "h.json") == path


def test_a_file_is_read_once_and_its_hash_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "input" / "base.gguf")
    found_assets.find(tmp_path / "input", (BASE,), tmp_path / "hashes.json")
    monkeypatch.setattr(store, "sha256", lambda _: pytest.fail("read twice"))
    assert found_assets.find(tmp_path / "input", (BASE,), tmp_path / "hashes.json") == path


def test_only_what_is_not_mounted_would_be_fetched(tmp_path: Path) -> None:
    files: Files = {role: (ModelFile(f"{role}.gguf", 0, ""),) for role in Role}
    put(tmp_path / "unet.gguf")
    names = [file.name for file in found_assets.to_fetch(tmp_path, files)]
    assert names == ["clip_l.gguf", "t5.gguf", "vae.gguf"]


def test_a_pickle_is_never_looked_at(tmp_path: Path) -> None:
    put(tmp_path / "input" / "base.pt")
    assert not found_assets.candidates(tmp_path / "input", BASE)


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    path = put(tmp_path / "input" / "a" / "base.gguf")
    (tmp_path / "input" / "a" / "again").symlink_to(tmp_path / "input")
    assert found_assets.candidates(tmp_path / "input", BASE) == [path]


# --- pictures ---


def test_the_only_folder_with_pictures_is_the_data_set(tmp_path: Path) -> None:
    folder = picture(tmp_path / "datasets" / "me" / "photos" / "1.JPG".lower())
    picture(folder / "more" / "2.png")
    put(tmp_path / "models" / "base.gguf")
    assert found_assets.pictures(tmp_path, "") == folder


def test_what_an_earlier_run_drew_is_no_data_set(tmp_path: Path) -> None:
    folder = picture(tmp_path / "photos" / "1.png")
    put(folder / "run.json", b"{}")
    for name in ("run.json", "progress.jsonl"):
        put(tmp_path / "notebooks" / "me" / "own" / "run" / name, b"")
    picture(tmp_path / "notebooks" / "me" / "own" / "run" / "samples" / "step-000001-1.png")
    picture(tmp_path / "notebooks" / "me" / "own" / "run" / "sheet.png")
    assert found_assets.pictures(tmp_path, "") == folder


def test_of_several_folders_one_must_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    folder = picture(tmp_path / "b" / "1.png")
    with pytest.raises(RefusalError, match=r"several folders.*a, b.*PICTURES"):
        found_assets.pictures(tmp_path, "")
    assert found_assets.pictures(tmp_path, "b") == folder


@pytest.mark.parametrize("named", ["", "nowhere"])
def test_no_pictures_are_refused_with_the_steps(tmp_path: Path, named: str) -> None:
    with pytest.raises(RefusalError, match=r"no data set.*Add Input > Datasets") as caught:
        found_assets.pictures(tmp_path, named)
    assert caught.value.code is Code.NO_PICTURES
