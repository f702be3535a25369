"""What is made ready before the first job, with the real micro models."""

from pathlib import Path

import pytest

from configs import settings as configs
from configs.settings import Settings
from core import prepare
from models import store
from models.micro import spec as micro
from models.store import Folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {"models": str(tmp_path / "models")}
    return configs.load(None, {"state": str(tmp_path / "state"), "folders": folders}, {})


def test_what_pictures_are_made_with_is_hashed_once_and_is_the_unet_that_was_foretold(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = settings.folders.models
    ready, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    assert ready.unet_path == prepare.unet_path(settings)
    assert ready.hashes
    assert ready.hashes.unet == store.sha256(ready.unet_path)
    for found, folder, names in (
        (ready.hashes.text_encoders, Folder.TEXT_ENCODERS, (micro.CLIP_FILE, micro.T5_FILE)),
        (ready.hashes.vae, Folder.VAE, (micro.VAE_FILE,)),
    ):
        assert found == {name: store.sha256(models / folder / name) for name in names}

    def read_again(path: Path) -> str:
        raise AssertionError(f"{path} is hashed a second time")

    monkeypatch.setattr(store, "sha256", read_again)
    again, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    assert again == ready


def test_a_file_that_is_not_in_our_folders_has_no_hash(settings: Settings, tmp_path: Path) -> None:
    vae = settings.folders.models / Folder.VAE
    (vae / "flux").mkdir(parents=True)
    (vae / "flux" / "ae.safetensors").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    known = store.sha256(tmp_path / "secret")
    assert prepare.hash_of(settings, Folder.VAE, "flux/ae.safetensors") == known
    assert prepare.hash_of(settings, Folder.VAE, r"flux\ae.safetensors") == known
    for name in ("missing", "../../secret", str(tmp_path / "secret"), ""):
        assert prepare.hash_of(settings, Folder.VAE, name) == ""
