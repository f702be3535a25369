import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core import drop_hints, inotify
from core.drop_hints import Hints, events_come
from core.inotify import Inotify


@pytest.fixture
def hints(tmp_path: Path) -> Hints:
    hints = Hints(tmp_path)
    hints.watch(str(tmp_path))
    return hints


def test_closed_and_moved_files_are_named_and_others_only_wake(
    hints: Hints, tmp_path: Path
) -> None:
    assert not hints.wait(0)
    (tmp_path / "sub").mkdir()
    assert hints.wait(5)
    assert hints.take() == set()
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").rename(tmp_path / "b")
    assert hints.take() == {f"{tmp_path}/a", f"{tmp_path}/b"}
    assert hints.take() == set()
    (tmp_path / "b").read_text()
    assert not hints.wait(0), "reading wakes nobody"


def test_a_folder_that_was_renamed_is_named_by_its_new_path(hints: Hints, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    hints.watch(str(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    hints.watch(str(tmp_path / "new"))
    hints.take()
    (tmp_path / "new" / "a").write_text("x")
    assert hints.take() == {f"{tmp_path}/new/a"}


def test_folders_not_asked_for_again_are_heard_no_more(hints: Hints, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    hints.watch(str(tmp_path / "sub"))
    hints.forget_the_rest()
    hints.watch(str(tmp_path))
    hints.forget_the_rest()
    hints.take()
    (tmp_path / "sub" / "a").write_text("x")
    assert not hints.wait(0)


def test_the_names_kept_are_bounded_whatever_happens(
    hints: Hints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_hints, "MOST", 100)
    for number in range(300):
        (tmp_path / str(number)).write_text("x")
    hints.wait(0)
    assert len(hints.take()) == 100


def test_an_overflow_of_the_kernels_queue_is_survived(hints: Hints, tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 50_000:
        pytest.skip("the queue is too long to fill in a test")
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    for _ in range(most // 2 + 100):
        one.rename(two)
        two.rename(one)
    assert hints.take() == {str(one), str(two)}
    one.write_text("y")
    assert hints.take() == {str(one)}


def test_where_nothing_can_be_watched_one_line_says_how_to_change_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def used_up(self: Inotify, folder: str = "") -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Inotify, "add", used_up)
    hints = Hints(tmp_path)
    assert hints.come
    for _ in range(3):
        hints.watch(str(tmp_path))
    assert not hints.come
    assert caplog.text.count("it is polled instead") == 1
    assert "max_user_watches" in caplog.text
    assert not hints.wait(0.01)
    hints.close()
    monkeypatch.setattr(Inotify, "__init__", used_up)
    assert not Hints(tmp_path).come


@pytest.mark.parametrize("kind", ["9p", "drvfs", "virtiofs", "cifs", "nfs4", "fuse.sshfs"])
def test_drives_of_another_system_are_not_listened_to(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hints = Hints(tmp_path, f"31 1 0:1 / {tmp_path} rw - {kind} C:\\134 rw\n")
    assert hints.is_remote
    assert not hints.come
    assert kind in caplog.text
    hints.close()


def test_closing_wakes_who_waits(hints: Hints) -> None:
    woken = threading.Event()

    def wait() -> None:
        hints.wait(60)
        woken.set()

    threading.Thread(target=wait).start()
    time.sleep(0.1)
    hints.close()
    assert woken.wait(5)
    assert hints.wait(60), "at once"
    hints.watch("/")
    assert hints.take() == set()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a listing, not paths

    before = open_now()
    for _ in range(5):
        hints = Hints(tmp_path)
        hints.watch(str(tmp_path))
        hints.close()
        events_come(tmp_path, 1)
    assert open_now() == before


def test_the_self_test_hears_its_own_file_and_leaves_nothing(tmp_path: Path) -> None:
    assert events_come(tmp_path, 5)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        events_come(tmp_path / "nowhere", 1)


def test_the_self_test_is_deaf_where_no_event_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add: Callable[[Inotify, str], int] = Inotify.add
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(Inotify, "add", lambda self, folder: add(self, str(elsewhere)))
    assert not events_come(tmp_path, 0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_what_cannot_be_watched_is_an_error_with_its_number(tmp_path: Path) -> None:
    ear = inotify.Inotify()
    for path, number in ((tmp_path / "no", errno.ENOENT), (Path(__file__), errno.ENOTDIR)):
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            ear.add(str(path))
        assert raised.value.errno == number
    ear.close()
