import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import drop_folder
from core.drop_folder import Claim, DropFolder


class Watching:
    """A drop folder with a thread that collects its claims."""

    def __init__(self, inbox: Path) -> None:
        self.folder = DropFolder(inbox, time.monotonic, time.time_ns)
        self.claims: list[tuple[Claim, bytes]] = []
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        for claim in self.folder.claims():
            self.claims.append((claim, claim.path.read_bytes()))

    def files(self) -> list[str]:
        return sorted(claim.file for claim, _ in self.claims)

    def close(self) -> None:
        self.folder.close()
        self._thread.join(10)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    watching = Watching(tmp_path / "inbox")
    yield watching
    watching.close()


Eventually = Callable[..., None]


def test_a_written_file_is_claimed_once_and_at_once(
    watching: Watching, eventually: Eventually
) -> None:
    (watching.folder.inbox / "a.txt").write_text("a fox")
    before = time.monotonic()
    eventually(lambda: watching.claims)
    assert time.monotonic() - before < drop_folder.SETTLE, "the event was not used"
    time.sleep(0.2)
    assert watching.files() == ["a.txt"]
    assert not (watching.folder.inbox / "a.txt").exists()


def test_a_slow_writer_is_waited_for(watching: Watching, eventually: Eventually) -> None:
    with (watching.folder.inbox / "slow.txt").open("w") as file:
        for part in range(5):
            file.write(f"part {part}\n")
            file.flush()
            time.sleep(0.3)
    eventually(lambda: watching.claims)
    assert watching.claims[0][1].decode().count("part") == 5


def test_a_file_moved_in_is_taken(
    watching: Watching, eventually: Eventually, tmp_path: Path
) -> None:
    (tmp_path / "b.md").write_text("an owl")
    (tmp_path / "b.md").rename(watching.folder.inbox / "b.md")
    eventually(lambda: watching.files() == ["b.md"])


def test_an_editors_temporary_files_are_left_alone(
    watching: Watching, eventually: Eventually
) -> None:
    inbox = watching.folder.inbox
    for name in (".a.txt.swp", "a.txt~", "a.txt.part", "a.crdownload", "picture.png"):
        (inbox / name).write_text("x")
    (inbox / "a.txt").write_text("x")
    eventually(lambda: watching.claims)
    time.sleep(drop_folder.SETTLE + 0.5)
    assert watching.files() == ["a.txt"]


def test_a_burst_is_claimed_whole(watching: Watching, eventually: Eventually) -> None:
    for number in range(1000):
        (watching.folder.inbox / f"{number}.txt").write_text(str(number))
    eventually(lambda: len(watching.claims) == 1000, 30)
    assert all(content.decode() + ".txt" == claim.file for claim, content in watching.claims)
    assert len({claim.name for claim, _ in watching.claims}) == 1000


def test_a_folder_that_was_deleted_is_made_and_watched_again(
    watching: Watching, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "SCAN_EVERY", 0.2)
    shutil.rmtree(watching.folder.inbox)
    eventually(lambda: (watching.folder.inbox / drop_folder.CLAIMED).is_dir())
    (watching.folder.inbox / "a.txt").write_text("x")
    eventually(lambda: watching.files() == ["a.txt"])


def test_two_folders_never_claim_the_same_file(tmp_path: Path, eventually: Eventually) -> None:
    one, two = Watching(tmp_path / "inbox"), Watching(tmp_path / "inbox")
    for number in range(200):
        (tmp_path / "inbox" / f"{number}.txt").write_text("x")
    eventually(lambda: len(one.claims) + len(two.claims) == 200, 20)
    assert not set(one.files()) & set(two.files())
    one.close()
    two.close()


def test_until_empty_waits_for_files_that_settle_then_ends(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.txt").write_text("x")
    folder = DropFolder(inbox, time.monotonic, time.time_ns)
    assert [claim.file for claim in folder.claims(until_empty=True)] == ["a.txt"]
    assert [claim.file for claim in folder.left_over()] == ["a.txt"]
    folder.close()


def test_polling_works_where_no_event_ever_comes(
    tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "file_system", lambda path: "9p")
    watching = Watching(tmp_path / "inbox")
    (tmp_path / "inbox" / "a.txt").write_text("x")
    eventually(lambda: watching.files() == ["a.txt"])
    watching.close()


def test_finished_files_keep_their_names_and_never_overwrite(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path, time.monotonic, time.time_ns)
    for content in ("one", "two"):
        (tmp_path / "a.txt").write_text(content)
        (claim,) = folder.claims(until_empty=True)
        folder.finish(claim)
    done = tmp_path / drop_folder.DONE
    assert (done / "a.txt").read_text() == "one"
    assert (done / "a-2.txt").read_text() == "two"
    (tmp_path / "b.txt").write_text("x")
    (claim,) = folder.claims(until_empty=True)
    folder.finish(claim, error="# no")
    assert (tmp_path / drop_folder.FAILED / "b.txt.error.md").read_text() == "# no"
    folder.close()
