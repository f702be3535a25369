"""Captioners: the real classes of transformers with small random weights, from a folder."""

import json
from pathlib import Path

import pytest

from tests import captioner_kit
from tests.dataset_kit import scene
from training.dataset import captioner
from training.dataset.captioner import Kind
from training.errors import TrainingError

KITS = {Kind.FLORENCE_2: captioner_kit.florence_2, Kind.BLIP_2: captioner_kit.blip_2}


@pytest.fixture(scope="module", params=list(Kind))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KITS[request.param](tmp_path_factory.mktemp("captioner") / request.param)


def test_a_captioner_describes_a_picture_the_same_way_each_time(checkpoint: Path) -> None:
    loaded = captioner.load(Kind(checkpoint.name), checkpoint)
    told = loaded.caption(scene(1, 120, 80))
    assert told == loaded.caption(scene(1, 120, 80))
    assert set(told.split()) <= set(captioner_kit.WORDS)
    assert len(told.split()) >= 4


def test_the_other_kind_is_refused_in_one_sentence(checkpoint: Path) -> None:
    other = next(kind for kind in Kind if kind != checkpoint.name)
    with pytest.raises(TrainingError, match=f"is no {other}: its type is") as caught:
        captioner.load(other, checkpoint)
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = captioner_kit.florence_2(tmp_path / "a")
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights[max(weights)]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(TrainingError, match="weights are missing"):
        captioner.load(Kind.FLORENCE_2, folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = captioner_kit.florence_2(tmp_path / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TrainingError, match="cannot be loaded"):
        captioner.load(Kind.FLORENCE_2, folder)


def test_a_checkpoint_that_wants_its_own_code_run_is_refused(tmp_path: Path) -> None:
    folder = captioner_kit.florence_2(tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["model_type"] = "florence2_language"  # as microsoft/Florence-2-large
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="florence-community"):
        captioner.load(Kind.FLORENCE_2, folder)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no config\.json"):
        captioner.load(Kind.FLORENCE_2, tmp_path)


def test_without_a_folder_the_network_is_not_asked_unless_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(TrainingError, match="--download"):
        captioner.load(Kind.FLORENCE_2, None)
    name = captioner.REPOSITORIES[Kind.FLORENCE_2].replace("/", "--")
    kept = tmp_path / f"models--{name}"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("1234")
    captioner_kit.florence_2(kept / "snapshots" / "1234")
    assert captioner.load(Kind.FLORENCE_2, None).caption(scene(1))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The image shows a woman in a garden.", "a woman in a garden."),
        ("</s><s>The image is a close-up of a hat.</s>", "a close-up of a hat."),
        ("This photo depicts The Eiffel Tower", "the Eiffel Tower"),
        ("a photograph of a cat", "a cat"),
        ("In this image we can see a tree. The image is dark.", "a tree. The image is dark."),
        ("A woman shows a picture of a dog", "A woman shows a picture of a dog"),
        ("  ", ""),
    ],
)
def test_what_speaks_of_the_picture_itself_is_left_out(said: str, kept: str) -> None:
    assert captioner.tidy(said) == kept
