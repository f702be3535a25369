import pytest

from bridge import doctor_network, wsl
from bridge.finding import Finding, Level
from tests.recorded_machine import RECORDINGS, RecordedMachine


def found(recording: str) -> dict[str, Finding]:
    findings = list(doctor_network.findings(wsl.inspect(RecordedMachine(recording))))
    assert len({finding.name for finding in findings}) == len(findings)
    return {finding.name: finding for finding in findings}


def bad(recording: str) -> list[str]:
    """Names of the findings that are worse than info."""
    worse = (Level.WARNING, Level.PROBLEM)
    return [name for name, one in found(recording).items() if one.level in worse]


@pytest.mark.parametrize(
    ("recording", "names"),
    [
        ("mirrored", []),
        ("mirrored_deaf", ["wsl.loopback"]),
        ("mirrored_fell_back_to_nat", ["wsl.fallback"]),
        ("mirrored_fell_back_to_none", ["wsl.networking", "wsl.fallback", "wsl.interfaces"]),
        ("nat", []),
        ("none", ["wsl.networking"]),
        ("virtioproxy", []),
        ("plain_linux", []),
        ("wsl1", []),
        ("wslinfo_missing", ["wsl.config"]),
    ],
)
def test_each_machine_gets_the_warnings_it_deserves(recording: str, names: list[str]) -> None:
    assert bad(recording) == names


def test_windows_10_is_told_that_it_has_no_mirrored_networking_and_what_to_do_instead() -> None:
    machine = wsl.inspect(RecordedMachine("windows_10"))
    fallback = found_all(machine, "wsl.fallback")[0]
    assert "this is Windows 10 (build 19045)" in fallback.fix
    assert "--listen 0.0.0.0" in fallback.fix
    assert "-RemoteAddress 172.28.80.0/20" in fallback.fix
    slips = [one.what for one in found_all(machine, "wsl.config")]
    assert len(slips) == 2
    assert "there is no setting networkmode" in slips[0]
    assert "hostaddressloopback stands under [wsl2]" in slips[1]


def found_all(networking: wsl.Networking, name: str) -> list[Finding]:
    return [one for one in doctor_network.findings(networking) if one.name == name]


def test_a_windows_that_could_do_mirrored_is_told_to_restart_wsl() -> None:
    machine = wsl.inspect(RecordedMachine("mirrored_fell_back_to_none"))
    fallback = found_all(machine, "wsl.fallback")[0]
    assert fallback.what == ".wslconfig asks for mirrored networking, and it is none in fact"
    assert fallback.fix.startswith("run: wsl --shutdown, wait 8 seconds")


def test_behind_nat_it_is_said_where_windows_is_and_how_to_open_it() -> None:
    nat = found("nat")["wsl.networking"]
    assert nat.level is Level.INFO
    assert "Windows is 172.28.80.1" in nat.what
    assert "networkingMode=mirrored" in nat.fix
    assert "New-NetFirewallRule" in nat.fix


def test_ports_that_mirrored_networking_ignores_are_told() -> None:
    class Ignoring(RecordedMachine):
        def read(self, path: str) -> bytes | None:
            if path.endswith(".wslconfig"):
                return b"[wsl2]\nnetworkingMode=mirrored\n[experimental]\nignoredPorts=8188\n"
            return super().read(path)

    (ports,) = found_all(wsl.inspect(Ignoring("mirrored")), "wsl.ports")
    assert "leave port 8188 alone" in ports.what


@pytest.mark.parametrize("recording", sorted(path.stem for path in RECORDINGS.glob("*.toml")))
def test_whatever_is_wrong_comes_with_a_reason_and_a_fix(recording: str) -> None:
    for finding in doctor_network.findings(wsl.inspect(RecordedMachine(recording))):
        assert finding.level is Level.OK or (finding.why and finding.fix)
