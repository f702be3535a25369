import fcntl
import os
from importlib import metadata
from pathlib import Path

import pytest

from bridge.finding import Level
from core import doctor_system
from core.journal import Journal

ROOT = Path(__file__).resolve().parents[1]


def test_an_old_python_is_a_problem() -> None:
    assert doctor_system.python((3, 10, 4)).level is Level.PROBLEM
    assert doctor_system.python((3, 11, 0)).level is Level.OK


def test_packages_are_compared_with_the_pins(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("# comment\ntorch==2.13.0\nhttpx==0.28.1  # why\nrich==15.0.0\n")
    installed = {"torch": "2.13.0+cpu", "httpx": "0.27.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    missing, other = doctor_system.packages(pins, version)
    assert (missing.level, missing.what) == (Level.PROBLEM, "not installed: rich")
    assert other.level is Level.WARNING
    assert other.what == "other versions than tested: httpx 0.27.0 instead of 0.28.1"
    assert f"-m pip install -r '{pins}'" in other.fix


def test_our_own_pins_can_all_be_read() -> None:
    text = (ROOT / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = list(doctor_system.packages(ROOT / "requirements.txt", lambda _: "0"))
    assert found[0].what.count(" instead of ") == len(lines)


@pytest.mark.parametrize(
    ("limits", "level"),
    [((256, 4096), Level.WARNING), ((1024, 4096), Level.OK), ((-1, -1), Level.OK)],
)
def test_few_open_files_are_a_warning(limits: tuple[int, int], level: Level) -> None:
    assert doctor_system.open_files(limits).level is level


def test_a_clock_from_before_our_own_files_is_a_warning() -> None:
    assert doctor_system.clock(now=2e9, written=1.9e9).level is Level.OK
    assert doctor_system.clock(now=1e9, written=1.9e9).level is Level.WARNING


def test_a_director_at_work_is_named_and_not_disturbed(tmp_path: Path) -> None:
    def look() -> list[str]:
        locks = Path("/proc/locks").read_text()
        return [one.what for one in doctor_system.other_director(tmp_path, locks)]

    assert look() == []
    journal = Journal(tmp_path, lambda: 0.0)
    (told,) = look()
    assert f"(process {os.getpid()})" in told
    journal.close()
    assert look() == []
    Journal(tmp_path, lambda: 0.0).close()  # the lock could be taken at any time


def test_a_lock_file_that_somebody_else_locks_is_told_without_a_number(tmp_path: Path) -> None:
    with (tmp_path / doctor_system.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        locks = Path("/proc/locks").read_text()
        (finding,) = doctor_system.other_director(tmp_path, locks)
    assert "(process unknown)" in finding.what
