import fcntl
import signal
import threading
import time
from pathlib import Path

import pytest

from core import settling
from core.settling import REMOTE_DRIVE, WITH_EVENTS, Pace, Settling, is_held


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """One file, and the looks at it."""

    def __init__(self, path: Path, pace: Pace) -> None:
        self.path, self.clock = path, Clock()
        self.settling = Settling(pace, self.clock, has_leases=pace is not REMOTE_DRIVE)
        path.write_text("x")

    def look(self, after: float, is_closed: bool = False, keep: bool = False) -> bool:
        self.clock.now += after
        self.settling.next_round()
        return self.settling.is_done(str(self.path), self.path.stat(), is_closed, keep)


@pytest.fixture
def local(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "a.txt", WITH_EVENTS)


def test_a_closed_file_is_done_at_once(local: Watched) -> None:
    assert local.look(0, is_closed=True)


def test_an_unannounced_file_must_not_change_for_a_while(local: Watched) -> None:
    assert not local.look(0)
    assert not local.look(0.9)
    local.path.write_text("longer")
    assert not local.look(0.2)
    assert not local.look(0.9)
    assert local.look(0.2)


def test_a_closed_file_that_waits_for_another_stays_done_until_it_changes(local: Watched) -> None:
    assert local.look(0, is_closed=True, keep=True)
    assert local.look(0.1, keep=True)
    local.path.write_text("longer")
    assert not local.look(0.1, keep=True)


def test_a_file_not_met_for_a_round_is_forgotten(local: Watched) -> None:
    local.look(0)
    local.settling.next_round()
    assert not local.look(2)


def test_on_a_remote_drive_two_looks_must_agree_with_the_first(tmp_path: Path) -> None:
    remote = Watched(tmp_path / "a.txt", REMOTE_DRIVE)
    assert not remote.look(0)
    assert not remote.look(60), "one look after a long pause proves little"
    assert remote.look(0.1)


def test_an_empty_file_is_waited_for_even_when_it_was_closed(local: Watched) -> None:
    local.path.write_text("")
    assert not local.look(0, is_closed=True)
    assert not local.look(settling.EMPTY - 0.1)
    assert local.look(0.2)


def test_a_file_held_open_for_writing_is_not_done_until_it_is_forgotten(local: Watched) -> None:
    with local.path.open("a"):
        local.look(0)
        assert not local.look(10)
        assert local.look(settling.HELD_MOST)
    assert local.look(0.1)


def test_the_kernel_says_who_writes_and_readers_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    with path.open("r"):
        assert not is_held(str(path))
    with path.open("r+"):
        assert is_held(str(path))
    assert not is_held(str(path))
    assert not is_held(str(tmp_path / "nothing"))
    assert not is_held(str(tmp_path))


def test_a_writer_that_comes_while_we_ask_waits_and_nobody_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    real, broken = fcntl.fcntl, threading.Event()

    def write() -> None:
        path.write_text("new")
        broken.set()

    def slow(fd: int, command: int, argument: int) -> object:
        result = real(fd, command, argument)
        if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_RDLCK):
            threading.Thread(target=write).start()
            time.sleep(0.3)
            assert not broken.is_set(), "the writer waits for the lease's end"
        return result

    monkeypatch.setattr(fcntl, "fcntl", slow)
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
    assert not is_held(str(path))
    assert broken.wait(5)
    assert path.read_text() == "new"
