import socket
import time

import pytest

from bridge import first_contact
from bridge.first_contact import Reached, origin
from tests import strangers
from tests.fake_host import serving
from tests.offering_host import OfferingHost


def reach(url: str) -> first_contact.Contact:
    return first_contact.reach(url, connect_timeout=0.5, patience=0.5)


def test_a_closed_port_refuses() -> None:
    contact = reach(strangers.closed())
    assert contact.reached is Reached.REFUSED
    assert "start ComfyUI" in contact.why


def test_a_port_that_swallows_connections_is_given_up_after_the_connect_timeout() -> None:
    with strangers.swallowing() as url:
        started = time.monotonic()
        contact = reach(url)
    assert contact.reached is Reached.SWALLOWED
    assert time.monotonic() - started < 5
    assert "within 0.5 s" in contact.why


def test_a_port_that_takes_the_connection_and_says_nothing_is_silent() -> None:
    with strangers.silent() as url:
        contact = reach(url)
    assert contact.reached is Reached.SILENT
    assert "does not answer within 0.5 s" in contact.why


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\0\1\2\3" * 100, b""])
def test_a_port_that_speaks_something_else_is_no_http(garbage: bytes) -> None:
    with strangers.answering(garbage) as url:
        contact = reach(url)
    assert contact.reached is Reached.NOT_HTTP
    assert "another program has this port" in contact.why


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (strangers.HTTP_OK, "it calls itself nginx/1.24.0"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://x/login\r\nContent-Length: 0\r\n\r\n",
            "it leads to http://x/login",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "not ComfyUI's answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe{}", "not ComfyUI's answer"),
    ],
)
def test_another_http_server_is_named_by_what_it_says(reply: bytes, told: str) -> None:
    with strangers.answering(reply) as url:
        contact = reach(url)
    assert contact.reached is Reached.NOT_COMFYUI
    assert told in contact.why


def test_an_answer_without_an_end_is_given_up() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (3 << 20)
    with strangers.answering(endless) as url:
        contact = reach(url)
    assert contact.reached is Reached.NOT_COMFYUI
    assert "without an end" in contact.why


def test_a_server_that_answers_403_is_told_apart() -> None:
    with strangers.answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as url:
        contact = reach(url)
    assert contact.reached is Reached.FORBIDDEN


@pytest.mark.parametrize("url", ["http://no.such.name.invalid:8188", "http://", "http://[::", "x"])
def test_an_address_that_leads_nowhere_is_no_way(url: str) -> None:
    assert reach(url).reached is Reached.NO_WAY


def test_a_port_without_tls_is_told_to_have_none() -> None:
    with strangers.answering(b"no TLS here") as url:
        contact = reach(url.replace("http", "https"))
    assert contact.reached is Reached.NO_WAY
    assert "TLS" in contact.why


def test_a_comfyui_is_met_with_its_facts_and_its_clock() -> None:
    with serving(OfferingHost(system={"os": "nt", "embedded_host": ""})) as host:
        contact = reach(host.url)
    assert contact.reached is Reached.COMFYUI
    assert contact.facts is not None
    assert contact.facts.windows
    assert contact.facts.on_gpu
    assert contact.date is not None
    assert abs(contact.date - time.time()) < 60


def test_a_host_that_checks_origins_takes_ours_under_each_of_its_names() -> None:
    with serving(OfferingHost()) as host:
        assert isinstance(host, OfferingHost)
        port = host.url.rsplit(":", 1)[1]
        for name in ("127.0.0.1", "localhost", "LOCALHOST"):
            assert reach(f"http://{name}:{port}").reached is Reached.COMFYUI
        assert host.refused == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with strangers.answering(strangers.HTTP_OK) as proxy, serving(OfferingHost()) as host:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert reach(host.url).reached is Reached.COMFYUI


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://LocalHost:8188", "http://localhost:8188"),
        ("http://studio.lan", "http://studio.lan"),
        ("http://studio.lan:80/comfy", "http://studio.lan"),
        ("https://studio.lan:443", "https://studio.lan"),
        ("http://[::1]:8188", "http://[::1]:8188"),
    ],
)
def test_the_origin_is_spelled_as_the_host_header(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_closed_really_is_closed() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(strangers.closed().rsplit(":", 1)[1])), 1)
