"""What goes to Kaggle: two folders, the same for the same training."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.kaggle_kit import NOTEBOOK, a_package, a_run, photos, plan
from training import run_plan
from training.dataset import picture_set
from training.errors import TrainingError
from training.kaggle import cloud_package
from training.kaggle.cloud_package import package, slug_of
from training.kaggle.values import Contents

GOLDEN = {
    "id": "someone/SLUG",
    "title": "TITLE",
    "code_file": "notebook.ipynb",
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_tpu": False,
    "enable_internet": True,
    "machine_shape": "NvidiaTeslaT4",
    "dataset_sources": ["someone/SLUG-data", "someone/flux-q4"],
    "competition_sources": [],
    "kernel_sources": [],
    "model_sources": [],
    "keywords": [],
}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_metadata_is_the_golden_one(tmp_path: Path) -> None:
    contents = Contents(photos(tmp_path / "p"), lambda _: NOTEBOOK, base_dataset="someone/flux-q4")
    made = package(a_run(tmp_path), "someone", tmp_path / "work", contents)
    golden = json.dumps(GOLDEN).replace("SLUG", made.slug).replace("TITLE", made.title)
    assert json.loads((made.kernel / "kernel-metadata.json").read_bytes()) == json.loads(golden)
    assert (made.kernel / "notebook.ipynb").read_text() == NOTEBOOK
    dataset = json.loads((made.dataset / "dataset-metadata.json").read_bytes())
    assert dataset["id"] == f"someone/{made.slug}-data"
    assert dataset["isPrivate"] is True


def test_a_run_without_a_gpu_asks_for_none(tmp_path: Path) -> None:
    contents = Contents(photos(tmp_path / "p"), lambda _: NOTEBOOK, gpu=False)
    made = package(a_run(tmp_path), "someone", tmp_path / "work", contents)
    metadata = json.loads((made.kernel / "kernel-metadata.json").read_bytes())
    assert metadata["enable_gpu"] is False
    assert "machine_shape" not in metadata


def test_a_resumed_run_sees_its_own_last_output(tmp_path: Path) -> None:
    _, made = a_package(tmp_path)
    path = made.kernel / "kernel-metadata.json"
    first = path.read_bytes()
    cloud_package.set_resume(made, resume=True)
    assert json.loads(path.read_bytes())["kernel_sources"] == [f"someone/{made.slug}"]
    cloud_package.set_resume(made, resume=False)
    assert path.read_bytes() == first


@given(st.from_regex(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", fullmatch=True), st.text(max_size=9))
def test_titles_become_their_slugs_and_fit_kaggle(name: str, run_name: str) -> None:
    from slugify import slugify

    slug = slug_of(plan(name), run_name)
    assert slugify(slug.replace("-", " ")) == slug
    assert len(slug) >= 6
    assert len(f"{slug}-data") <= 50
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert slug_of(plan(name), run_name) == slug
    assert slug_of(plan(name), f"{run_name}x") != slug


def test_the_pictures_are_the_same_set_there(tmp_path: Path) -> None:
    _, made = a_package(tmp_path)
    here = picture_set.read(tmp_path / "photos", "ohwx")
    there = picture_set.read(made.dataset, "ohwx")
    assert there.hash == here.hash
    assert (made.dataset / "photo_0.txt").read_text() == "a ohwx in the rain"
    assert run_plan.read_plan(made.dataset / "run.json") == plan()


def test_names_that_would_fall_together_are_kept_apart(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 1)
    (folder / "a").mkdir()
    for name in ("a/b.png", "a__b.PNG", "ä ö.png", "é ü.png", "a__b.jpg"):
        Image.new("RGB", (32, 32), (len(name) * 9, 1, 2)).save(folder / name)
    contents = Contents(folder, lambda _: NOTEBOOK)
    made = package(a_run(tmp_path), "someone", tmp_path / "work", contents)
    there = picture_set.read(made.dataset, "ohwx")
    assert there.hash == picture_set.read(folder, "ohwx").hash
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", item.file) for item in there.items)


def test_made_again_nothing_is_touched_and_only_what_changed_differs(tmp_path: Path) -> None:
    run, made = a_package(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in made.dataset.iterdir()}
    contents = Contents(tmp_path / "photos", lambda _: NOTEBOOK)
    again = package(run, "someone", tmp_path / "work", contents)
    assert again == made
    assert {path.name: path.stat().st_mtime_ns for path in made.dataset.iterdir()} == times
    (tmp_path / "photos" / "photo 2.png").unlink()
    (tmp_path / "photos" / "photo 0.txt").write_text("another caption")
    changed = package(run, "someone", tmp_path / "work", contents)
    assert changed.slug == made.slug
    assert changed.content != made.content
    names = set(files(changed.dataset))
    assert "photo_2.png" not in names
    assert "photo_2.txt" not in names
    assert cloud_package.marker(made.content) not in names
    assert cloud_package.marker(changed.content) in names


def test_a_small_base_travels_along(tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF")
    contents = Contents(photos(tmp_path / "p"), lambda _: NOTEBOOK, models=(base,))
    made = package(a_run(tmp_path), "someone", tmp_path / "work", contents)
    assert (made.dataset / "base.gguf").read_bytes() == b"GGUF"


def test_a_damaged_picture_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "photo 1.png").write_bytes(b"no picture")
    contents = Contents(folder, lambda _: NOTEBOOK)
    with pytest.raises(TrainingError, match=r"photo 1\.png"):
        package(a_run(tmp_path), "someone", tmp_path / "work", contents)
