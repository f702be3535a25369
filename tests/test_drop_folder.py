import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import drop_folder, settling
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


# One file


def test_a_written_file_is_claimed_once_and_at_once(
    watching: Watching, eventually: Eventually
) -> None:
    (watching.inbox / "a.txt").write_text("a fox")
    before = time.monotonic()
    eventually(lambda: watching.claims)
    assert time.monotonic() - before < WITH_EVENTS.settle, "the event was not used"
    time.sleep(0.2)
    assert watching.files() == ["a.txt"]
    assert not (watching.inbox / "a.txt").exists()


def test_a_slow_writer_is_waited_for_however_long_it_pauses(
    watching: Watching, eventually: Eventually
) -> None:
    with (watching.inbox / "slow.txt").open("w") as file:
        for part, pause in enumerate((0.3, 0.3, WITH_EVENTS.settle + 1, 0)):
            file.write(f"part {part}\n")
            file.flush()
            time.sleep(pause)
    eventually(lambda: watching.claims)
    assert watching.claims[0][1].decode().count("part") == 4


def test_a_file_moved_in_is_taken_at_once(
    watching: Watching, eventually: Eventually, tmp_path: Path
) -> None:
    (tmp_path / "b.md").write_text("an owl")
    before = time.monotonic()
    (tmp_path / "b.md").rename(watching.inbox / "b.md")
    eventually(lambda: watching.files() == ["b.md"])
    assert time.monotonic() - before < WITH_EVENTS.settle, "the event was not used"


def test_an_editors_temporary_files_are_left_alone(
    watching: Watching, eventually: Eventually
) -> None:
    for name in (".a.txt.swp", "a.txt~", "a.txt.part", "a.crdownload", "b.txt:Zone.Identifier"):
        (watching.inbox / name).write_text("x")
    (watching.inbox / "a.txt.error.md").write_text("what was wrong with an earlier a.txt")
    temporary = watching.inbox / ".a.txt.1234"
    temporary.write_text("saved by way of a temporary file")
    temporary.rename(watching.inbox / "a.txt")
    eventually(lambda: watching.claims)
    time.sleep(WITH_EVENTS.settle + 0.5)
    assert watching.files() == ["a.txt"]


def test_an_empty_file_is_waited_for_as_programs_make_it_first(
    watching: Watching, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    (watching.inbox / "new.txt").touch()
    (watching.inbox / "other.txt").write_text("x")
    eventually(lambda: watching.files() == ["other.txt"])
    monkeypatch.setattr(settling, "EMPTY", 0.0)
    eventually(lambda: watching.files() == ["new.txt", "other.txt"])


def test_folders_links_and_devices_named_like_prompts_are_never_opened(
    watching: Watching, eventually: Eventually, tmp_path: Path
) -> None:
    (watching.inbox / "folder.txt").mkdir()
    os.mkfifo(watching.inbox / "fifo.txt")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        here = Path.cwd()
        os.chdir(watching.inbox)  # a socket's path is short
        listener.bind("socket.txt")
        os.chdir(here)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.txt").write_text("x")
    (watching.inbox / "link").symlink_to(tmp_path / "elsewhere")
    (watching.inbox / "dangling.txt").symlink_to("nowhere")
    (watching.inbox / "relative.txt").symlink_to("../elsewhere/far.txt")
    (watching.inbox / "absolute.txt").symlink_to(tmp_path / "elsewhere" / "far.txt")
    eventually(lambda: watching.files() == ["absolute.txt"])
    assert watching.claims[0][1] == b"x"
    assert (watching.inbox / "fifo.txt").is_fifo()


# Names


def test_odd_names_are_claimed_under_names_that_journal_and_log_can_hold(
    folder: DropFolder,
) -> None:
    odd = [b"\xff\xfe.txt", b"two\nlines.txt", b"a" * 251 + b".txt", "é".encode() * 125 + b".yaml"]
    for name in odd:
        Path(os.fsdecode(os.fsencode(folder.inbox) + b"/" + name)).write_text("x")
    claims = once(folder)
    assert {claim.file for claim in claims} == {
        "__.txt",
        "two_lines.txt",
        "a" * 200 + ".txt",
        "é" * 100 + ".yaml",
    }
    for claim in claims:
        claim.name.encode("utf-8")
        assert folder.claimed(claim.name) == claim
        place = folder.finish(claim, error="# no")
        assert place.is_file()
        assert place.with_name(place.name + ".error.md").read_text() == "# no"


def test_a_folder_with_an_odd_name_is_a_batch_too(folder: DropFolder) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder.inbox) + b"/b\xe4r"))
    odd.mkdir()
    (odd / "a.txt").write_text("x")
    (claim,) = once(folder)
    assert claim.batch == "b_r"
    assert folder.finish(claim) == folder.inbox / DONE / "b_r" / "a.txt"


def test_a_claims_name_is_never_that_of_another(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path, time.monotonic, lambda: 7)
    taken = tmp_path / CLAIMED / f"{7:020}-000001-a.txt"
    taken.write_text("an earlier one")
    (tmp_path / "a.txt").write_text("x")
    (claim,) = once(folder)
    assert claim.name == f"{7:020}-000002-a.txt"
    assert taken.read_text() == "an earlier one"
    folder.close()


# Many files


def test_a_burst_is_claimed_whole_and_in_handfuls(
    watching: Watching, eventually: Eventually
) -> None:
    for number in range(5000):
        (watching.inbox / f"{number}.txt").write_text(str(number))
    eventually(lambda: len(watching.claims) == 5000, 60)
    assert all(content.decode() + ".txt" == claim.file for claim, content in watching.claims)
    assert len({claim.name for claim, _ in watching.claims}) == 5000
    assert 0 not in watching.sizes
    assert max(watching.sizes) <= 500


def test_files_come_oldest_first_and_so_do_left_over_ones(folder: DropFolder) -> None:
    names = [f"{number * 7 % 10}.txt" for number in range(10)]
    for name in names:
        (folder.inbox / name).write_text("x")
        time.sleep(0.01)
    handfuls = list(folder.batches(until_empty=True, at_most=4))
    assert [len(claims) for claims in handfuls] == [4, 4, 2]
    assert [claim.file for claims in handfuls for claim in claims] == names
    assert [claim.file for claim in folder.left_over()] == names


def test_two_folders_never_claim_the_same_file(tmp_path: Path, eventually: Eventually) -> None:
    one, two = Watching(tmp_path / "inbox"), Watching(tmp_path / "inbox")
    for number in range(200):
        (tmp_path / "inbox" / f"{number}.txt").write_text("x")
    eventually(lambda: len(one.claims) + len(two.claims) == 200, 20)
    assert not set(one.files()) & set(two.files())
    one.close()
    two.close()


def test_until_empty_waits_for_files_that_settle_then_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    folder = DropFolder(tmp_path, time.monotonic, time.time_ns)
    assert [claim.file for claim in once(folder)] == ["a.txt"]
    assert [claim.file for claim in folder.left_over()] == ["a.txt"]
    folder.close()


def test_closing_ends_a_long_wait_and_may_be_done_twice(folder: DropFolder) -> None:
    thread = threading.Thread(target=lambda: list(folder.claims()))
    thread.start()
    time.sleep(0.1)
    folder.close()
    folder.close()
    thread.join(5)
    assert not thread.is_alive()
    assert list(folder.claims()) == []


# The folder itself


def test_a_folder_that_was_deleted_is_made_and_watched_again(
    watching: Watching, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "GONE", 0.2)
    shutil.rmtree(watching.inbox)
    eventually(lambda: (watching.inbox / CLAIMED).is_dir())
    (watching.inbox / "a.txt").write_text("x")
    eventually(lambda: watching.files() == ["a.txt"])


def test_a_folder_renamed_away_and_replaced_is_followed_by_name(
    watching: Watching, eventually: Eventually, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    watching.inbox.rename(tmp_path / "old")
    time.sleep(0.1)
    (tmp_path / "new").rename(watching.inbox)  # fails if the director was quick to make its own
    eventually(lambda: (watching.inbox / DONE).is_dir())
    (tmp_path / "old" / "stray.txt").write_text("x")
    (watching.inbox / "a.txt").write_text("x")
    eventually(lambda: watching.files() == ["a.txt"])


def test_an_inbox_that_cannot_be_used_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / DONE).write_text("a file of the user's")
    with pytest.raises(OSError, match=r"cannot be used: File exists \(.*done\); choose another"):
        DropFolder(tmp_path, time.monotonic, time.time_ns)
    with unprivileged_folder() as locked:
        for name in (CLAIMED, DONE, FAILED):
            (locked / name).mkdir()
        locked.chmod(0o500)
        with pytest.raises(OSError, match="cannot be read and written"):
            DropFolder(locked, time.monotonic, time.time_ns)


# Sub-folders
