import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import discovery
from core.host_process import HostProcess
from core.host_source import EMBEDDED, HostSource
from tests.fake_host import FakeHost, serving


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
    assert "does not list y.gguf; copy it" in found.reason


def test_names_are_compared_with_slashes_folded() -> None:
    assert discovery.same_file("flux/x.gguf", "flux\\x.gguf")
    assert not discovery.same_file("flux/x.gguf", "x.gguf")


def test_a_port_that_accepts_and_says_nothing_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.client.READ_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = discovery.probe(f"http://127.0.0.1:{silent.getsockname()[1]}", "x.gguf", 0.3)
    assert not found.usable
    assert "does not answer" in found.reason


def test_a_server_that_is_no_comfyui_is_told_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def answer() -> None:
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = discovery.probe(url, "x.gguf", 1.0)
        thread.join()
    assert not found.usable
    assert "not ComfyUI's answer" in found.reason


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
    found = source(tmp_path, "auto", host.url).acquire("other.gguf", threading.Event())
    assert found is not None
    assert (found.key, found.url) == (EMBEDDED, "http://embedded")
    assert "does not list other.gguf" in found.reason


def test_auto_prefers_a_comfyui_that_will_do(tmp_path: Path, host: FakeHost) -> None:
    found = source(tmp_path, "auto", host.url).acquire("x.gguf", threading.Event())
    assert found is not None
    assert found.url == host.url


def test_auto_waits_for_a_comfyui_it_worked_with_before_it_falls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.host_source.RETRY_AFTER", 0.05)
    with serving() as served:
        auto = source(tmp_path, "auto", served.url)
        auto.acquire("x.gguf", threading.Event())
    gone = time.monotonic()
    found = auto.acquire("x.gguf", threading.Event())
    assert found is not None
    assert found.key == EMBEDDED
    assert time.monotonic() - gone >= 0.5


def test_embedded_asks_nobody(tmp_path: Path, host: FakeHost) -> None:
    found = source(tmp_path, "embedded", host.url).acquire("x.gguf", threading.Event())
    assert found is not None
    assert found.key == EMBEDDED


def test_a_named_host_is_waited_for_until_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.host_source.RETRY_AFTER", 0.05)
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    assert source(tmp_path, "http://127.0.0.1:1").acquire("x.gguf", stopped) is None
