from dataclasses import replace

import pytest

from bridge import doctor_candidates, wsl
from bridge.discovery import Probe, Verdict
from bridge.doctor_candidates import Search
from bridge.finding import Finding, Level
from bridge.first_contact import Reached
from tests.recorded_machine import RecordedMachine

PLAIN = wsl.inspect(RecordedMachine("plain_linux"))
ANY = Search("x.gguf", named=False, networking=PLAIN)
NAMED = Search("x.gguf", named=True, networking=PLAIN)
CLOSED = Probe("http://127.0.0.1:8188", usable=False, reason="refuses; start it")
GOOD = Probe("http://127.0.0.1:8000", usable=True, reason="ComfyUI 0.3.64", verdict=Verdict.USABLE)


def found(search: Search, *probes: Probe) -> list[Finding]:
    return list(doctor_candidates.findings(probes, search))


def test_one_usable_candidate_is_enough() -> None:
    closed, good, choice = found(ANY, CLOSED, GOOD)
    assert [one.level for one in (closed, good, choice)] == [Level.INFO, Level.OK, Level.OK]
    assert choice.what == "the director would use http://127.0.0.1:8000"


def test_without_any_the_embedded_host_is_named_with_its_price() -> None:
    *_, choice = found(ANY, CLOSED)
    assert choice.level is Level.WARNING
    assert "embedded host" in choice.what


def test_a_named_host_that_will_not_do_is_one_problem() -> None:
    (only,) = found(NAMED, CLOSED)
    assert only.level is Level.PROBLEM
    assert only.fix


@pytest.mark.parametrize("reached", list(Reached))
@pytest.mark.parametrize("verdict", [Verdict.ABSENT, Verdict.NO_NODES, Verdict.NO_MODEL])
def test_every_way_to_fail_has_a_fix(reached: Reached, verdict: Verdict) -> None:
    probe = replace(CLOSED, reached=reached, verdict=verdict)
    (only,) = found(NAMED, probe)
    assert only.fix


def test_behind_nat_the_gateway_is_told_how_to_be_opened_and_127_is_not_blamed() -> None:
    behind_nat = Search("x.gguf", named=False, networking=wsl.inspect(RecordedMachine("nat")))
    swallowed = replace(CLOSED, url="http://172.28.80.1:8188", reached=Reached.SWALLOWED)
    own, gateway, _ = found(behind_nat, CLOSED, swallowed)
    assert "this address is Linux alone" in own.why
    assert "--listen 0.0.0.0" in gateway.fix
    assert "New-NetFirewallRule" in gateway.fix


def test_what_hangs_or_is_a_stranger_is_a_warning_among_several() -> None:
    for reached in (Reached.SILENT, Reached.NOT_COMFYUI, Reached.NOT_HTTP, Reached.FORBIDDEN):
        assert found(ANY, replace(CLOSED, reached=reached))[0].level is Level.WARNING
