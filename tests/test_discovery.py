import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import discovery, wsl
from bridge.discovery import Verdict
from bridge.first_contact import Reached
from core.host_process import HostProcess
from core.host_source import EMBEDDED, HostSource
from tests import strangers
from tests.fake_host import FakeHost, serving
from tests.offering_host import OfferingHost, node
from tests.recorded_machine import RecordedMachine


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


def test_a_comfyui_with_the_nodes_and_the_model_is_taken_with_its_facts(host: FakeHost) -> None:
    found = discovery.probe(host.url, "x.gguf", 1.0)
    assert found.usable
    assert found.reason == "ComfyUI 0.3.64 on fake"


def test_a_comfyui_without_the_model_is_left_with_what_to_do(host: FakeHost) -> None:
    found = discovery.probe(host.url, "y.gguf", 1.0)
    assert not found.usable
    assert found.reason.startswith("does not list y.gguf (")
    assert "copy it to its models/unet folder" in found.reason


def test_names_are_compared_with_slashes_folded() -> None:
    assert discovery.same_file("flux/x.gguf", "flux\\x.gguf")
    assert not discovery.same_file("flux/x.gguf", "x.gguf")


def test_a_port_that_accepts_and_says_nothing_is_not_waited_for_long() -> None:
    with strangers.silent() as url:
        found = discovery.probe(url, "x.gguf", 0.3, patience=0.3)
    assert not found.usable
    assert found.reached is Reached.SILENT
    assert "does not answer" in found.reason


def test_a_port_that_answers_drop_by_drop_does_not_hold_us() -> None:
    started = time.monotonic()
    with strangers.answering(strangers.HTTP_OK, drip=0.2) as url:
        found = discovery.probe(url, "x.gguf", 0.3, patience=0.4)
    assert found.reached is Reached.SILENT
    assert time.monotonic() - started < 8  # the whole answer takes 15 s


def test_ports_are_asked_side_by_side() -> None:
    with strangers.silent() as one, strangers.silent() as two, strangers.swallowing() as three:
        started = time.monotonic()
        probes = discovery.survey([one, two, three, one, two], "x.gguf", 1.0, patience=1.0)
    assert time.monotonic() - started < 4
    assert [probe.reached for probe in probes] == [
        Reached.SILENT,
        Reached.SILENT,
        Reached.SWALLOWED,
        Reached.SILENT,
        Reached.SILENT,
    ]


def test_a_server_that_is_no_comfyui_is_told_apart() -> None:
    with strangers.answering(strangers.HTTP_OK) as url:
        found = discovery.probe(url, "x.gguf", 1.0)
    assert not found.usable
    assert found.reached is Reached.NOT_COMFYUI


def test_a_comfyui_without_the_gguf_nodes_is_left_with_what_to_do() -> None:
    with serving(OfferingHost(nodes={"KSampler": node()})) as served:
        found = discovery.probe(served.url, "x.gguf", 1.0)
    assert found.verdict is Verdict.NO_NODES
    assert "install ComfyUI-GGUF" in found.reason


def test_the_models_that_come_nearest_are_named() -> None:
    nodes = {"UnetLoaderGGUF": node(unet_name=["flux\\Flux1-Dev-Q4_0.gguf", "wan.gguf"])}
    with serving(OfferingHost(nodes=nodes)) as served:
        found = discovery.probe(served.url, "flux1-dev-Q4_K_S.gguf", 1.0)
    assert found.verdict is Verdict.NO_MODEL
    assert "nearest: flux\\Flux1-Dev-Q4_0.gguf" in found.reason


def test_a_windows_host_lists_the_model_with_backslashes() -> None:
    nodes = {"UnetLoaderGGUF": node(unet_name=["flux\\x.gguf"])}
    with serving(OfferingHost(nodes=nodes)) as served:
        assert discovery.probe(served.url, "flux/x.gguf", 1.0).usable


def test_a_version_nobody_tested_is_said_and_no_hindrance() -> None:
    with serving(OfferingHost(system={"comfyui_version": "0.10.2"})) as served:
        found = discovery.probe(served.url, "x.gguf", 1.0)
    assert found.usable
    assert "not tested with" in found.reason


def test_our_own_embedded_host_is_known_for_what_it_is() -> None:
    with serving(OfferingHost(system={"embedded_host": "vulcan"})) as served:
        found = discovery.probe(served.url, "x.gguf", 1.0)
    assert found.reason == "Vulcan's embedded host on fake"


def test_a_comfyui_that_answers_only_in_part_is_not_used() -> None:
    nodes = {"UnetLoaderGGUF": "?"}
    with serving(OfferingHost(nodes=nodes)) as served:
        assert discovery.probe(served.url, "x.gguf", 1.0).verdict is Verdict.NO_NODES


@pytest.mark.parametrize(
    ("version", "tested"),
    [("0.3.64", True), ("v0.3.64", True), ("0.3.65", False), ("0.3", False), ("unknown", False)],
)
def test_only_versions_that_ran_here_count_as_tested(version: str, tested: bool) -> None:
    assert discovery.is_tested(version) is tested


def test_behind_nat_the_gateway_is_asked_on_the_same_ports_and_nowhere_else() -> None:
    configured = ("http://127.0.0.1:8188", "http://localhost:8000", "http://studio.lan:8188")
    behind_nat = wsl.inspect(RecordedMachine("nat"))
    assert discovery.candidates(configured, behind_nat) == (
        *configured,
        "http://172.28.80.1:8188",
        "http://172.28.80.1:8000",
    )
    for elsewhere in ("mirrored", "plain_linux", "none", "virtioproxy"):
        found = discovery.candidates(configured, wsl.inspect(RecordedMachine(elsewhere)))
        assert found == configured


def test_probing_stops_at_the_first_that_will_do(host: FakeHost) -> None:
    probes = discovery.probe_all(
        ["http://127.0.0.1:1", host.url, "http://127.0.0.1:2"], "x.gguf", 1.0
    )
    assert [probe.usable for probe in probes] == [False, True]


class NoProcess(HostProcess):
    """Stands in for the embedded host where only the choice matters."""

    def ensure(self) -> str:
        return "http://embedded"


def source(tmp_path: Path, use: str, *candidates: str) -> HostSource:
    return HostSource(use, candidates, NoProcess(tmp_path, tmp_path), 1.0, 0.5, time.monotonic)


def test_auto_falls_back_to_the_embedded_host_and_says_why(tmp_path: Path, host: FakeHost) -> None:
    found, _ = source(tmp_path, "auto", host.url).find("other.gguf")
    assert found is not None
    assert (found.key, found.url) == (EMBEDDED, "http://embedded")
    assert "does not list other.gguf" in found.reason


def test_auto_prefers_a_comfyui_that_will_do(tmp_path: Path, host: FakeHost) -> None:
    found, _ = source(tmp_path, "auto", host.url).find("x.gguf")
    assert found is not None
    assert found.url == host.url


def test_auto_waits_for_a_comfyui_it_worked_with_before_it_falls_back(tmp_path: Path) -> None:
    with serving() as served:
        auto = source(tmp_path, "auto", served.url)
        auto.find("x.gguf")
    found, told = auto.find("x.gguf")
    assert found is None
    assert served.url in told
    time.sleep(0.6)
    found, _ = auto.find("x.gguf")
    assert found is not None
    assert found.key == EMBEDDED


def test_a_comfyui_that_appears_later_is_noticed(
    tmp_path: Path, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.host_source.SCOUT_EVERY", 0.05)
    assert source(tmp_path, "auto", host.url).better("x.gguf", threading.Event())
    given_up = threading.Event()
    given_up.set()
    assert not source(tmp_path, "auto", host.url).better("x.gguf", given_up)
    assert not source(tmp_path, "embedded", host.url).better("x.gguf", threading.Event())


def test_embedded_asks_nobody(tmp_path: Path, host: FakeHost) -> None:
    found, _ = source(tmp_path, "embedded", host.url).find("x.gguf")
    assert found is not None
    assert found.key == EMBEDDED


def test_a_named_host_is_used_whatever_it_has_and_waited_for_when_away(
    tmp_path: Path, host: FakeHost
) -> None:
    found, _ = source(tmp_path, host.url).find("other.gguf")
    assert found is not None
    assert found.key == host.url
    found, told = source(tmp_path, "http://127.0.0.1:1").find("x.gguf")
    assert found is None
    assert "127.0.0.1:1" in told


def test_auto_that_has_fallen_back_needs_no_second_wait_to_start_the_stand_in_again(
    tmp_path: Path,
) -> None:
    with serving() as served:
        auto = source(tmp_path, "auto", served.url)
        auto.find("x.gguf")
    auto.find("x.gguf")
    time.sleep(0.6)
    for _ in range(2):  # the second time because the embedded host crashed
        found, _ = auto.find("x.gguf")
        assert found is not None
        assert found.key == EMBEDDED
