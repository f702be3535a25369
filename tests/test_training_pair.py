"""A finished LoRA becomes usable; nothing of the same name is ever replaced."""

import shutil
from pathlib import Path

import pytest

from configs import settings as configs
from configs.settings import Settings
from core import prepare, training_pair
from models import store
from models.micro import micro_set
from tests.train_kit import plan, training
from training import progress
from training.errors import TrainingError
from training.progress import Stage, State, Status
from training.run_folder import RunFolder

LORA = micro_set.place(micro_set.SHIPPED).lora


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with the micro Flux, quantised."""
    folder = tmp_path_factory.mktemp("models")
    prepare.prepare(_settings(folder, folder / "state"), lambda _w, _s: None, lambda _c: None)
    return folder


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Settings:
    own = tmp_path / "models"
    shutil.copytree(models, own, copy_function=lambda a, b: Path(b).hardlink_to(a))
    (tmp_path / "state").mkdir()
    return _settings(own, tmp_path / "state")


def _settings(models: Path, state: Path) -> Settings:
    environ = {"VULCAN_FOLDERS__MODELS": str(models), "VULCAN_STATE": str(state)}
    return configs.load(None, None, environ)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(training(tmp_path / "run").folder)
    lora = folder.lora("ohwx")
    lora.parent.mkdir()
    shutil.copy(LORA, lora)
    progress.write_status(
        folder.status, Status(state=State.DONE, stage=Stage.EXPORT, sha256=store.sha256(lora))
    )
    return folder


def publish(run: RunFolder, settings: Settings) -> Path:
    edge = prepare.unet_path(settings)
    training_pair.publish(run, plan(), edge, settings, lambda _what, _share: None)
    return settings.folders.models / "loras" / "ohwx.safetensors"


def test_a_lora_is_checked_filed_and_paired_and_doing_it_again_changes_nothing(
    run: RunFolder, settings: Settings
) -> None:
    training_pair.refuse_taken("ohwx", settings)
    training_pair.check(run, plan(), prepare.unet_path(settings), settings)
    filed = publish(run, settings)
    assert filed.read_bytes() == LORA.read_bytes()
    before = store.stamp(filed)
    assert store.stamp(publish(run, settings)) == before
    with pytest.raises(TrainingError, match="LoRA of this name already"):
        training_pair.refuse_taken("ohwx", settings)
    filed.unlink()
    with pytest.raises(TrainingError, match="pair 'ohwx' already"):
        training_pair.refuse_taken("ohwx", settings)


def test_a_lora_of_another_base_of_the_same_shape_is_told(
    run: RunFolder, settings: Settings, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    path = run.lora("ohwx")
    save_file(load_file(path), path, {training_pair.BASE_KEY: "0" * 64})
    progress.write_status(run.status, Status(state=State.DONE, stage=Stage.EXPORT))
    notes = training_pair.check(run, plan(), prepare.unet_path(settings), settings)
    assert [note for note in notes if "another base" in note]


def test_another_lora_of_the_name_is_never_replaced(run: RunFolder, settings: Settings) -> None:
    other = settings.folders.models / "loras" / "ohwx.safetensors"
    other.write_bytes(b"somebody's own")
    with pytest.raises(TrainingError, match="another LoRA has this name"):
        publish(run, settings)
    assert other.read_bytes() == b"somebody's own"


def test_another_pair_of_the_name_is_never_replaced(run: RunFolder, settings: Settings) -> None:
    publish(run, settings)
    manifest = settings.folders.models / "pairs" / "ohwx.json"
    text = manifest.read_text().replace(store.sha256(LORA), "0" * 64)
    manifest.write_text(text)
    with pytest.raises(TrainingError, match="another pair has the name"):
        publish(run, settings)
    assert manifest.read_text() == text


def test_a_file_that_is_not_the_one_that_was_trained_is_refused(
    run: RunFolder, settings: Settings
) -> None:
    edge = prepare.unet_path(settings)
    with run.lora("ohwx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(TrainingError, match="not the file that was trained"):
        training_pair.check(run, plan(), edge, settings)
    run.lora("ohwx").unlink()
    with pytest.raises(TrainingError, match="no finished LoRA"):
        training_pair.check(run, plan(), edge, settings)


def test_a_lora_of_another_flux_is_refused(run: RunFolder, settings: Settings) -> None:
    from safetensors.numpy import load_file, save_file

    path = run.lora("ohwx")
    tensors = {
        name: array[:, :-1] if name.endswith("lora_A.weight") else array
        for name, array in load_file(path).items()
    }
    save_file({name: array.copy() for name, array in tensors.items()}, path)
    status = progress.read_status(run.status)
    assert status is not None
    progress.write_status(run.status, status.model_copy(update={"sha256": store.sha256(path)}))
    with pytest.raises(TrainingError, match="does not fit vulcan-micro"):
        training_pair.check(run, plan(), prepare.unet_path(settings), settings)
