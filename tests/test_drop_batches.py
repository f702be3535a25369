"""Sub-folders, pictures beside prompts, and files that cannot be had."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import emptied
from core.claimed_folder import Found
from core.drop_folder import CLAIMED, DONE, FAILED, Claim, DropFolder
from core.settling import WITH_EVENTS
from tests.watched_folder import Watching, unprivileged_folder

Eventually = Callable[..., None]


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path / "inbox")
    yield watching
    watching.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DropFolder]:
    folder = DropFolder(tmp_path / "inbox", time.monotonic, time.time_ns)
    yield folder
    folder.close()


def once(folder: DropFolder) -> list[Claim]:
    return list(folder.claims(until_empty=True))


def test_sub_folders_are_batches_however_they_come(
    watching: Watching, eventually: Eventually, tmp_path: Path
) -> None:
    moved, copied = tmp_path / "moved", tmp_path / "copied"
    for tree in (moved, copied):
        (tree / "night").mkdir(parents=True)
        (tree / "night" / f"{tree.name}.txt").write_text("x")
    moved.rename(watching.inbox / "moved")
    shutil.copytree(copied, watching.inbox / "copied")
    (watching.inbox / "made" / "by" / "hand").mkdir(parents=True)
    time.sleep(0.1)
    (watching.inbox / "made" / "by" / "hand" / "made.txt").write_text("x")
    eventually(lambda: watching.files() == ["copied.txt", "made.txt", "moved.txt"])
    claim = watching.the("made.txt")
    assert claim.batch == "made/by/hand"
    assert claim.name == f"made/by/hand/{claim.path.name}"
    assert watching.folder.claimed(claim.name) == claim
    assert watching.folder.finish(claim) == watching.inbox / DONE / "made/by/hand/made.txt"
    assert not (watching.inbox / CLAIMED / "made").exists(), "empty folders are removed there"
    assert watching.folder.finish(watching.the("moved.txt"), "# no").is_file()
    assert (watching.inbox / FAILED / "moved" / "night" / "moved.txt.error.md").is_file()


def test_hidden_folders_ours_and_very_deep_ones_are_not_entered(folder: DropFolder) -> None:
    deep = Path(*["d"] * 9)
    for name in (".hidden", CLAIMED, DONE, FAILED, "sub/done", deep):
        (folder.inbox / name).mkdir(parents=True, exist_ok=True)
        (folder.inbox / name / "a.txt").write_text("x")
    assert [claim.batch for claim in once(folder)] == ["sub/done"], "deeper down it is theirs"


def test_batch_folders_that_we_emptied_are_removed_and_no_others(
    watching: Watching, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptied, "MOMENT", 0.2)
    for name in ("ours/below", "new", "kept"):
        (watching.inbox / name).mkdir(parents=True)
    for name in ("ours/below/a.txt", "kept/b.txt", "kept/notes.doc"):
        (watching.inbox / name).write_text("x")

    def gone() -> bool:
        (watching.inbox / ".nudge").write_text("")  # a scan now rather than in five seconds
        return not (watching.inbox / "ours").exists()

    eventually(gone)
    assert (watching.inbox / "new").is_dir()
    assert (watching.inbox / "kept" / "notes.doc").is_file()


# Pictures


def test_a_picture_travels_with_its_prompt_file(watching: Watching, eventually: Eventually) -> None:
    (watching.inbox / "night").mkdir()
    (watching.inbox / "night" / "pose.PNG").write_bytes(b"picture")
    (watching.inbox / "night" / "pose.txt").write_text("a dancer")
    eventually(lambda: watching.claims)
    claim = watching.the("pose.txt")
    assert claim.image is not None
    assert claim.image.read_bytes() == b"picture"
    assert claim.image.parent == watching.inbox / CLAIMED / "night"
    place = watching.folder.finish(claim)
    assert place.with_suffix(".PNG").read_bytes() == b"picture"
    assert watching.folder.left_over() == []
    assert not (watching.inbox / CLAIMED / "night").exists()


def test_a_picture_still_being_written_delays_its_prompt_file(
    watching: Watching, eventually: Eventually
) -> None:
    with (watching.inbox / "pose.png").open("wb") as picture:
        picture.write(b"half")
        picture.flush()
        (watching.inbox / "pose.txt").write_text("a dancer")
        time.sleep(WITH_EVENTS.settle + 0.7)
        assert watching.claims == []
        picture.write(b"whole")
    eventually(lambda: watching.claims)
    image = watching.the("pose.txt").image
    assert image is not None
    assert image.read_bytes() == b"halfwhole"


def test_a_picture_alone_waits_without_a_word_at_first(
    watching: Watching, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (watching.inbox / "pose.webp").write_bytes(b"picture")
    (watching.inbox / "other.txt").write_text("x")
    eventually(lambda: watching.files() == ["other.txt"])
    assert "pose" not in caplog.text
    (watching.inbox / "pose.yaml").write_text("prompt: x")
    eventually(lambda: len(watching.claims) == 2)
    assert watching.the("pose.yaml").image is not None


def test_of_two_prompt_files_with_one_picture_the_first_has_it_and_the_log_says_so(
    folder: DropFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("pose.png", "pose.json", "pose.txt"):
        (folder.inbox / name).write_text("x")
    claims = {claim.file: claim for claim in once(folder)}
    assert claims["pose.json"].image
    assert claims["pose.txt"].image is None
    assert "pose.txt goes without the picture" in caplog.text


# Trouble


def test_a_file_that_cannot_be_moved_is_told_once_and_holds_nobody_up(
    watching: Watching,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As on a Windows drive while a program there has the file open."""
    rename, refused = os.rename, list[object]()

    def held(source: object, target: object) -> None:
        if str(source).endswith("held.txt") and len(refused) < 3:
            refused.append(source)
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(str(source), str(target))

    monkeypatch.setattr(os, "rename", held)
    (watching.inbox / "held.txt").write_text("x")
    (watching.inbox / "free.txt").write_text("x")
    eventually(lambda: watching.files() == ["free.txt", "held.txt"])
    assert caplog.text.count("held.txt cannot be claimed yet: Permission denied") == 1


def test_a_picture_that_cannot_be_moved_keeps_its_prompt_file_back(
    folder: DropFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, refused = os.rename, list[object]()

    def held(source: object, target: object) -> None:
        if str(source).endswith("/pose.png") and len(refused) < 2:
            refused.append(source)
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(str(source), str(target))

    monkeypatch.setattr(os, "rename", held)
    (folder.inbox / "pose.png").write_text("picture")
    (folder.inbox / "pose.txt").write_text("a dancer")
    (claim,) = once(folder)
    assert len(refused) == 2
    assert claim.image is not None
    assert claim.image.read_text() == "picture"


def test_locked_sub_folders_are_told_once_and_hold_nobody_up(
    eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    with unprivileged_folder() as inbox:
        for name in ("unreadable", "unwritable"):
            (inbox / name).mkdir()
            (inbox / name / f"{name}.txt").write_text("x")
        (inbox / "unreadable").chmod(0)
        (inbox / "unwritable").chmod(0o500)
        watching = Watching(inbox)
        (inbox / "a.txt").write_text("x")
        eventually(lambda: watching.files() == ["a.txt"])
        eventually(lambda: "unwritable.txt cannot be claimed yet" in caplog.text)
        time.sleep(1)
        watching.close()
    assert caplog.text.count("unwritable.txt cannot be claimed yet") == 1
    assert caplog.text.count("unreadable cannot be read") == 1


def test_a_file_that_vanishes_between_looking_and_claiming_is_no_trouble(
    folder: DropFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "b.txt"):
        (folder.inbox / name).write_text("x")
    take = folder._claimed.take

    def take_later(found: Found) -> Claim | None:
        (folder.inbox / "a.txt").unlink(missing_ok=True)
        return take(found)

    monkeypatch.setattr(folder._claimed, "take", take_later)
    assert [claim.file for claim in once(folder)] == ["b.txt"]
    assert not caplog.records


# Mounts


def test_polling_works_where_no_event_ever_comes(
    tmp_path: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watching = Watching(tmp_path / "inbox", mounts=f"C:\\134 {tmp_path} 9p rw 0 0\n")
    with (tmp_path / "inbox" / "a.txt").open("w") as file:
        for part in "xyz":
            file.write(part)
            file.flush()
            time.sleep(0.8)
    eventually(lambda: watching.files() == ["a.txt"])
    assert watching.claims[0][1] == b"xyz"
    assert "lies on 9p, where no events come: it is polled" in caplog.text
    watching.close()


# Finishing


def test_finished_files_keep_their_names_and_never_overwrite(folder: DropFolder) -> None:
    for content in ("one", "two", "three"):
        (folder.inbox / "a.txt").write_text(content)
        (claim,) = once(folder)
        folder.finish(claim)
    done = folder.inbox / DONE
    assert [(done / f"a{n}.txt").read_text() for n in ("", "-2", "-3")] == ["one", "two", "three"]
    (folder.inbox / "b.txt").write_text("x")
    (claim,) = once(folder)
    folder.finish(claim, error="# no")
    assert (folder.inbox / FAILED / "b.txt.error.md").read_text() == "# no"
