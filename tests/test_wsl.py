from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import wsl
from bridge.surroundings import Machine, decoded
from bridge.wsl import Kind, Networking
from bridge.wsl_config import Mode
from tests.recorded_machine import RecordedMachine


def inspected(name: str) -> Networking:
    return wsl.inspect(RecordedMachine(name))


@pytest.mark.parametrize(
    ("recording", "mode", "asked", "is_routed"),
    [
        ("mirrored", Mode.MIRRORED, Mode.MIRRORED, False),
        ("mirrored_deaf", Mode.MIRRORED, Mode.MIRRORED, False),
        ("mirrored_fell_back_to_nat", Mode.NAT, Mode.MIRRORED, True),
        ("mirrored_fell_back_to_none", Mode.NONE, Mode.MIRRORED, False),
        ("nat", Mode.NAT, None, True),
        ("none", Mode.NONE, Mode.NONE, False),
        ("virtioproxy", Mode.VIRTIOPROXY, Mode.VIRTIOPROXY, False),
        ("windows_10", Mode.NAT, Mode.MIRRORED, True),
        ("wslinfo_missing", None, None, True),
        ("plain_linux", None, None, False),
        ("wsl1", None, None, False),
    ],
)
def test_the_mode_is_what_is_really_so_beside_what_was_asked_for(
    recording: str, mode: Mode | None, asked: Mode | None, is_routed: bool
) -> None:
    found = inspected(recording)
    assert (found.mode, found.config.mode, found.is_routed) == (mode, asked, is_routed)


def test_the_kind_of_linux_is_told_by_its_kernel() -> None:
    kinds = [inspected(name).kind for name in ("plain_linux", "wsl1", "nat")]
    assert kinds == [Kind.PLAIN, Kind.WSL1, Kind.WSL2]


def test_behind_nat_windows_is_the_gateway_and_its_network_is_known() -> None:
    gateway = inspected("nat").gateway
    assert gateway is not None
    assert (gateway.address, gateway.network) == ("172.28.80.1", "172.28.80.0/20")


def test_the_users_folder_is_asked_of_windows_in_any_language_and_on_any_drive() -> None:
    found = inspected("windows_10")
    assert found.config.path == "/mnt/d/Profile/Jörg Müller/.wslconfig"
    assert found.build == 19045
    assert inspected("mirrored_fell_back_to_none").build == 22631


def test_without_windows_help_the_only_config_there_is_counts() -> None:
    assert inspected("wslinfo_missing").config.path == "/mnt/c/Users/Anna/.wslconfig"


def test_the_director_asks_no_windows_program() -> None:
    machine = RecordedMachine("nat")
    assert wsl.inspect(machine, ask_windows=False).is_routed
    assert machine.ran == ["wslinfo --networking-mode"]


def test_outside_of_wsl_nothing_is_run() -> None:
    machine = RecordedMachine("plain_linux")
    wsl.inspect(machine)
    assert machine.ran == []


def test_whether_windows_is_really_there_is_tried() -> None:
    assert inspected("mirrored").reaches_windows is True
    assert inspected("mirrored_deaf").reaches_windows is False
    assert inspected("plain_linux").reaches_windows is None


def test_drives_are_found_however_they_are_mounted() -> None:
    mounts = (
        "drivers /usr/lib/wsl/drivers 9p ro 0 0\n"
        "C:\\134 /win/my\\040disk 9p rw,aname=drvfs 0 0\n"
        "drvfsD0 /mnt/d virtiofs rw,noatime 0 0\n"
        "E: /mnt/e drvfs rw 0 0\n"
        "/dev/sdc / ext4 rw 0 0\n"
    )
    assert wsl.windows_drives(mounts) == {"c": "/win/my disk", "d": "/mnt/d", "e": "/mnt/e"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_text_is_read_in_whatever_windows_wrote_it(encoding: str) -> None:
    assert decoded("[wsl2]\r\nnetworkingMode=nat ä".encode(encoding)).endswith("nat ä")


@given(st.binary(max_size=200))
def test_no_bytes_are_too_broken_to_be_looked_at(raw: bytes) -> None:
    wsl.windows_drives(decoded(raw))


def test_a_command_that_is_not_there_fails_or_hangs_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.surroundings.RUN_TIMEOUT", 0.2)
    machine = Machine()
    assert machine.run("/no/such/command") is None
    assert machine.run("false") is None
    assert machine.run("sleep", "30") is None
    assert machine.run("echo", "hello") == b"hello\n"


def test_the_machine_reads_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    machine = Machine()
    assert machine.read(str(tmp_path / "a.txt")) == b"text"
    assert machine.read(str(tmp_path)) is None
    assert machine.paths(f"{tmp_path}/*.txt") == [f"{tmp_path}/a.txt"]
    assert not machine.connects("127.0.0.1", 1, 0.2)
