"""Taking published files back: only what Vulcan put there, and nobody uses any more."""

import errno
from pathlib import Path

import pytest

from models.errors import ModelError
from models.ledger import FILE, Ledger
from models.publishing import Publisher
from models.store import Folder
from tests.publishing_kit import LORA, listed, silent, source


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher("me", tmp_path / "hashes.json", silent)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    return tmp_path / "models"


def test_only_what_was_published_and_is_not_used_is_removed(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    (models / "loras" / "mine-12345678.safetensors").write_bytes(b"the user's own")
    names = []
    for content in (b"one", b"two"):
        style = source(tmp_path / "dl" / "style.safetensors", content)
        names.append(publisher.publish({style: [models]})[style])
    gone = list(publisher.withdraw(models, {(LORA, names[1]), (Folder.VAE, names[0])}))
    assert gone == [models / "loras" / names[0]]
    assert listed(models) == ["loras/mine-12345678.safetensors", f"loras/{names[1]}"]
    assert list(Ledger(models, "me").files) == [f"loras/{names[1]}"]


def test_a_file_that_was_there_before_under_a_published_name_is_not_ours_to_remove(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    (models / "loras" / style.published_name).write_bytes(b"one")
    publisher.publish({style: [models]})
    assert list(publisher.withdraw(models, set())) == []


def test_a_file_that_somebody_put_in_place_of_ours_stays(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    path = models / "loras" / publisher.publish({style: [models]})[style]
    path.write_bytes(b"something else")
    list(publisher.withdraw(models, set()))
    assert path.read_bytes() == b"something else"


def test_two_vulcans_share_a_file_until_both_let_go(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    other = Publisher("other", tmp_path / "theirs.json", silent)
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    path = models / "loras" / publisher.publish({style: [models]})[style]
    other.publish({style: [models]})
    assert list(publisher.withdraw(models, set())) == []
    assert path.exists()
    assert list(other.withdraw(models, set())) == [path]
    assert list(other.withdraw(models, set())) == []


def test_a_file_that_a_program_holds_is_kept_and_tried_again_next_time(
    publisher: Publisher, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    path = models / "loras" / publisher.publish({style: [models]})[style]

    def held(_path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EACCES, "in use")

    with monkeypatch.context() as patch:
        patch.setattr("models.safe_copy.time.sleep", lambda _: None)
        patch.setattr(Path, "unlink", held)
        assert list(publisher.withdraw(models, set())) == []
    assert list(publisher.withdraw(models, set())) == [path]


def test_leftovers_of_a_kill_go_with_the_next_run_and_those_of_others_stay(
    publisher: Publisher, models: Path
) -> None:
    ours = models / "loras" / ".style-12345678.safetensors.me.part"
    theirs = models / "loras" / ".style-12345678.safetensors.other.part"
    for path in (ours, theirs):
        path.touch()
    list(publisher.withdraw(models, set()))
    assert (ours.exists(), theirs.exists()) == (False, True)


def test_a_ledger_that_cannot_be_read_is_told_and_nothing_is_removed(
    publisher: Publisher, models: Path, tmp_path: Path
) -> None:
    style = source(tmp_path / "dl" / "style.safetensors", b"one")
    path = models / "loras" / publisher.publish({style: [models]})[style]
    for text in ("", "[]", '{"version": 99, "files": {}}', "\0"):
        (models / FILE).write_text(text)
        with pytest.raises(ModelError, match=FILE):
            list(publisher.withdraw(models, set()))
    assert path.exists()
