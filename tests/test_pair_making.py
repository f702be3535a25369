"""Pairs made of real files, published to a host's folder, and pruned again."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.request import LoraChoice
from configs.settings import Settings
from core.journal import Journal
from core.pair_files import Wanted
from core.pair_making import PairMaker, wanted_again
from core.pair_state import Condition, Sight
from models import pairing, store
from models.errors import ModelError
from models.flux import FluxShape
from models.pair_shelf import PairShelf
from models.pairing import OWN, PairingError
from models.store import Folder
from tests import doctor_site, journal_kit, model_files, random_lora
from tests.model_files import TINY
from tests.sample_request import REQUEST

WIDE = FluxShape(512, 4, 1, 1, 64, 256, 256, 1024, guidance=True)
STYLE = Wanted("style", loras=((doctor_site.LORA, 0.8),))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    doctor_site.make_models(tmp_path)
    return doctor_site.settings(tmp_path)


@pytest.fixture
def maker(settings: Settings) -> PairMaker:
    return PairMaker(settings, lambda _what, _share: None)


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    for name in ("unet", "loras", "clip", "vae"):
        (tmp_path / "comfy" / name).mkdir(parents=True)
    return tmp_path / "comfy"


def other_weights(path: Path, seed: int = 1) -> None:
    """Put another LoRA of the same shape in a file's place, as a download does."""
    arrays = random_lora.weights(TINY)
    store.atomic_write(path, b"")
    model_files.write(path, {name: array + seed for name, array in arrays.items()})


def test_without_a_target_everything_is_used_where_it_lies(
    maker: PairMaker, settings: Settings
) -> None:
    models = settings.folders.models
    before = sorted(models.rglob("*"))
    made = maker.make(STYLE)
    pair = made.pair
    assert not made.replaced
    assert (pair.unet, pair.vae) == (doctor_site.UNET, doctor_site.VAE)
    assert pair.text_encoders == doctor_site.ENCODERS
    assert [(use.file, use.strength) for use in pair.loras] == [(doctor_site.LORA, 0.8)]
    assert pair.unet_sha256 == store.sha256(models / "unet" / doctor_site.UNET)
    assert all(file.models == (OWN,) and len(file.sha256) == 64 for file in pair.files)
    assert PairShelf(models).load("style") == pair
    assert set(models.rglob("*")) - set(before) == {models / "pairs", models / "pairs/style.json"}


def test_the_manifest_moves_with_its_folder(
    maker: PairMaker, settings: Settings, tmp_path: Path
) -> None:
    maker.make(STYLE)
    moved = settings.folders.models.rename(tmp_path / "moved")
    Sight(moved, store.sha256).checked(PairShelf(moved).load("style"))


def test_a_published_pair_is_whole_in_every_folder_under_one_set_of_names(
    maker: PairMaker, settings: Settings, comfy: Path, tmp_path: Path
) -> None:
    elsewhere = model_files.write(tmp_path / "dl" / "own.safetensors", random_lora.weights(TINY))
    loras = ((doctor_site.LORA, 0.8), (str(elsewhere), -0.5))
    pair = maker.make(Wanted("style", loras=loras, trigger="zap", targets=(comfy,))).pair
    for models, clip in ((settings.folders.models, "text_encoders"), (comfy, "clip")):
        places = {Folder.UNET: "unet", Folder.TEXT_ENCODERS: clip}
        for folder, name in pair.names():
            path = models / places.get(folder, folder) / name
            assert store.sha256(path) == pair.sha256(folder, name)
            assert path.stem.endswith(pair.sha256(folder, name)[:8])
    first, second = pair.loras
    assert (first.trigger_words, second.trigger_words) == (("zap",), ())
    assert second.strength == -0.5
    states = Sight(settings.folders.models, store.sha256).states(pair)
    assert [state.condition for state in states] == [Condition.THERE] * 12


def test_a_companion_that_is_nowhere_here_is_the_hosts_own(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    (settings.folders.models / "vae" / doctor_site.VAE).unlink()
    pair = maker.make(replace(STYLE, text_encoders=("", "t5/big.gguf"), targets=(comfy,))).pair
    assert (pair.vae, pair.text_encoders[1]) == (doctor_site.VAE, "t5/big.gguf")
    assert [file.file for file in pair.files if file.is_hosts_own] == ["t5/big.gguf", pair.vae]
    for missing in ("/no/such.safetensors", "./no.safetensors"):
        with pytest.raises(ModelError, match="no such file"):
            maker.make(replace(STYLE, vae=missing))


def test_a_file_of_the_hosts_folder_is_paired_by_its_name_there(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    own = settings.folders.models / "loras" / doctor_site.LORA
    (comfy / "loras" / "flux").mkdir()
    own.rename(comfy / "loras" / "flux" / "style.safetensors")
    unet = settings.folders.models / "unet" / doctor_site.UNET
    unet.rename(comfy / "unet" / "big.gguf")
    wanted = Wanted("x", "big.gguf", (("flux/style", 1.0),), targets=(comfy,))
    pair = maker.make(wanted).pair
    assert pair.loras[0].file == "flux/style.safetensors"
    assert pair.unet == "big.gguf"
    assert pair.files[0].models == (str(comfy),)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (replace(STYLE, name="a/b"), "cannot be a pair's name"),
        (replace(STYLE, loras=(("nothing", 1.0),)), "there is no model file 'nothing'"),
        (replace(STYLE, unet="missing.gguf"), "there is no model file"),
        (replace(STYLE, unet=f"../loras/{doctor_site.LORA}"), "Quantise it first"),
        (replace(STYLE, loras=((f"../vae/{doctor_site.VAE}", 1.0),)), "it is no LoRA"),
        (replace(STYLE, loras=(), trigger="zap"), "the pair has none"),
        (replace(STYLE, targets=(Path("/no/such"),)), "no such folder"),
    ],
)
def test_what_cannot_be_paired_is_told_and_leaves_no_manifest(
    maker: PairMaker, settings: Settings, wanted: Wanted, why: str
) -> None:
    with pytest.raises(ModelError, match=why):
        maker.make(wanted)
    assert PairShelf(settings.folders.models).names() == []


def test_a_lora_that_does_not_fit_is_refused_and_the_old_pair_stays(
    maker: PairMaker, settings: Settings
) -> None:
    before = maker.make(STYLE).pair
    lora = settings.folders.models / "loras" / "wide.safetensors"
    model_files.write(lora, random_lora.weights(WIDE))
    with pytest.raises(PairingError):
        maker.make(replace(STYLE, loras=(("wide", 1.0),)))
    assert PairShelf(settings.folders.models).load("style") == before


def test_a_file_that_changed_or_went_makes_the_pair_unusable_until_it_is_made_again(
    maker: PairMaker, settings: Settings
) -> None:
    sight = Sight(settings.folders.models, store.sha256)
    pair = maker.make(STYLE).pair
    sight.checked(pair)
    lora = settings.folders.models / "loras" / doctor_site.LORA
    other_weights(lora)
    with pytest.raises(ModelError, match=r"changed since it was paired.*pair style --again"):
        sight.checked(pair)
    again = maker.make(wanted_again(pair))
    assert again.replaced
    assert again.pair.loras[0].sha256 == store.sha256(lora) != pair.loras[0].sha256
    sight.checked(again.pair)
    lora.unlink()
    with pytest.raises(ModelError, match="is gone"):
        sight.checked(again.pair)


def test_a_pair_made_again_is_of_the_files_it_came_from_and_frees_the_old_version(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    old = maker.make(replace(STYLE, targets=(comfy,))).pair
    assert wanted_again(old).loras == (
        (str(settings.folders.models / "loras" / doctor_site.LORA), 0.8),
    )
    other_weights(settings.folders.models / "loras" / doctor_site.LORA)
    Sight(settings.folders.models, store.sha256).checked(old)  # its own copies are as they were
    made = maker.make(wanted_again(old))
    gone = old.loras[0].file
    assert set(made.removed) == {
        comfy / "loras" / gone,
        settings.folders.models / "loras" / gone,
    }
    assert not any(path.exists() for path in made.removed)
    assert made.pair.unet == old.unet


def test_a_version_that_an_unfinished_job_names_stays_until_it_is_over(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    old = maker.make(replace(STYLE, targets=(comfy,))).pair
    name = old.loras[0].file
    journal = Journal(settings.state, time.time)
    asked = replace(REQUEST, loras=(LoraChoice(name, 1.0),), unet="x", pair="style")
    journal_kit.enter(journal, [asked])
    job = journal_kit.take(journal)
    assert job
    other_weights(settings.folders.models / "loras" / doctor_site.LORA)
    maker.make(wanted_again(old))
    assert maker.prune() == ()
    assert (comfy / "loras" / name).exists()
    journal.failed(job.id, "boom")
    assert comfy / "loras" / name in maker.prune()
    journal.close()


def test_what_a_running_director_still_holds_is_spared_once(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    old = maker.make(replace(STYLE, targets=(comfy,))).pair
    journal = Journal(settings.state, time.time)  # holds the director's lock
    other_weights(settings.folders.models / "loras" / doctor_site.LORA)
    assert maker.make(wanted_again(old)).removed == ()
    journal.close()
    assert comfy / "loras" / old.loras[0].file in maker.prune()


def test_a_removed_pair_takes_its_published_files_along_and_no_others(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    maker.make(replace(STYLE, targets=(comfy,)))
    maker.make(replace(STYLE, name="other", loras=(), targets=(comfy,)))
    gone = maker.remove("style")
    assert {path.parent.name for path in gone} == {"loras"}
    gone = maker.remove("other")
    assert len(gone) == 8
    models = settings.folders.models
    kept = {path.name for path in models.rglob("*") if path.is_file()}
    named = {doctor_site.UNET, doctor_site.LORA, doctor_site.VAE, *doctor_site.ENCODERS}
    assert kept == named | {".vulcan-published.json"}
    assert [path.name for path in comfy.rglob("*") if path.is_file()] == [".vulcan-published.json"]


def test_nothing_is_removed_while_a_manifest_cannot_be_read(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    maker.make(replace(STYLE, targets=(comfy,)))
    PairShelf(settings.folders.models).path("style").write_text("{")
    with pytest.raises(ModelError, match=r"style\.json"):
        maker.prune()
    made = maker.make(replace(STYLE, targets=(comfy,)))  # which mends it
    assert made.removed == ()


def test_a_pair_is_published_to_one_more_folder_as_it_was_paired(
    maker: PairMaker, settings: Settings, comfy: Path
) -> None:
    plain = maker.make(STYLE).pair
    published = maker.publish(plain, comfy)
    assert PairShelf(settings.folders.models).load("style") == published
    assert published.loras[0].sha256 == plain.loras[0].sha256
    assert published.loras[0].file == f"l-{plain.loras[0].sha256[:8]}.safetensors"
    assert wanted_again(published).loras == wanted_again(plain).loras
    assert maker.publish(published, comfy) == published
    assert json.loads(pairing.to_json(published))["targets"] == [str(comfy)]
