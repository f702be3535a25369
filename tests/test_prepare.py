"""What is made ready before the first job, with the real micro models."""

from dataclasses import astuple
from pathlib import Path

import pytest

from configs import settings as configs
from configs.settings import Settings
from core import parentage, prepare
from models import gguf_file, safetensors_file, store
from models.micro import micro_set
from models.micro import spec as micro
from models.store import Folder
from models.tensor_types import TensorType
from tests import model_files, random_lora
from tests.convert_kit import convert_file


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


def older_set(models: Path) -> Path:
    """A micro set of our names and sizes but other weights, and its unet's GGUF, which is given."""
    files = micro_set.lay_out(models)
    for path in (files.unet, files.lora):
        content = bytearray(path.read_bytes())
        header = safetensors_file.read_header(path)
        # What a GGUF keeps as it is, so that it differs for sure; of a LoRA, anything.
        name = "img_in.weight" if path == files.unet else header.names[0]
        content[header.tensor(name).offset] ^= 1
        path.write_bytes(content)
    target = files.unet.with_name(prepare.target_name(files.unet, "Q4_K_S"))
    convert_file(files.unet, target)
    return target


def test_an_older_micro_set_of_the_same_names_and_sizes_is_replaced_and_its_gguf_made_anew(
    settings: Settings,
) -> None:
    models = settings.folders.models
    stale = older_set(models)
    before = store.sha256(stale)
    ready, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    for shipped, path in zip(
        astuple(micro_set.place(micro_set.SHIPPED)), astuple(micro_set.place(models)), strict=True
    ):
        assert path.read_bytes() == shipped.read_bytes()
    assert ready.unet_path == stale
    assert parentage.made_of(stale, micro_set.place(models).unet)
    assert ready.unet_sha256 == store.sha256(stale) != before
    (own,) = ready.loras
    assert own.sha256 == store.sha256(micro_set.place(micro_set.SHIPPED).lora)


def test_a_gguf_of_another_micro_set_is_made_anew_even_if_the_set_itself_is_ours(
    settings: Settings,
) -> None:
    stale = older_set(settings.folders.models)
    files = micro_set.lay_out(settings.folders.models)  # by hand: python -m models.micro models
    assert not parentage.made_of(stale, files.unet)
    prepare.prepare(settings, lambda *_: None, lambda _: None)
    assert parentage.made_of(stale, files.unet)


def test_what_is_right_is_not_written_again(settings: Settings) -> None:
    ready, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    files = [ready.unet_path, *astuple(micro_set.place(settings.folders.models))]
    before = [path.stat().st_mtime_ns for path in files]
    prepare.prepare(settings, lambda *_: None, lambda _: None)
    assert [path.stat().st_mtime_ns for path in files] == before


def test_f16_is_a_file_type_and_keeps_every_weight_as_it_is(settings: Settings) -> None:
    model = settings.model.model_copy(update={"file_type": "F16"})
    plain = settings.model_copy(update={"model": model})
    ready, _ = prepare.prepare(plain, lambda *_: None, lambda _: None)
    kept = {tensor.type for tensor in gguf_file.read_header(ready.unet_path).tensors}
    assert kept == {TensorType.F16}
    assert parentage.made_of(ready.unet_path, micro_set.place(plain.folders.models).unet)


def test_the_micro_loras_word_is_put_nowhere_unless_the_settings_name_one(
    settings: Settings,
) -> None:
    ready, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    (shipped,) = ready.loras
    assert not shipped.in_front
    header = gguf_file.read_header(ready.unet_path)
    own = settings.model_copy(
        update={"lora": settings.lora.model_copy(update={"trigger": "mountain"})}
    )
    loras = prepare.Loras(settings.folders.models / Folder.LORAS, header, own, lambda _: "")
    usual = loras.usual()
    assert usual
    assert (usual.triggers, usual.in_front) == (("mountain",), True)


@pytest.mark.parametrize(
    ("said", "in_front"),
    [("", True), ("true", True), ("false", False), ("False ", False)],
)
def test_a_loras_word_is_put_in_front_unless_its_metadata_say_otherwise(
    settings: Settings, said: str, in_front: bool
) -> None:
    ready, _ = prepare.prepare(settings, lambda *_: None, lambda _: None)
    folder = settings.folders.models / Folder.LORAS
    metadata = {"vulcan.trigger_in_front": said} if said else {}
    model_files.write(folder / "mine.safetensors", random_lora.weights(micro.FLUX), metadata)
    header = gguf_file.read_header(ready.unet_path)
    found = prepare.Loras(folder, header, settings, lambda _: "").find("mine")
    assert found.in_front is in_front
