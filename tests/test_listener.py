import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge import listener
from bridge.listener import Listener, Reconnected
from bridge.protocol import Preview, Status
from tests.fake_host import FakeHost, serving
from tests.offering_host import OfferingHost, is_refused

Eventually = Callable[..., None]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serving() as served:
        yield served


def taken(events: "queue.Queue[Any]") -> list[Any]:
    return [events.get_nowait() for _ in range(events.qsize())]


def test_a_new_socket_says_that_it_is_new_before_anything_else(
    host: FakeHost, eventually: Eventually
) -> None:
    events: queue.Queue[Any] = queue.Queue()
    socket = Listener(host.url, "me", events)
    eventually(lambda: events.qsize() == 2)
    assert taken(events) == [Reconnected(), Status(0, "me")]
    socket.close()


def test_an_idle_host_that_answers_pings_keeps_its_socket(
    host: FakeHost, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PING_AFTER", 0.05)
    events: queue.Queue[Any] = queue.Queue()
    socket = Listener(host.url, "me", events)
    eventually(lambda: host.sockets)
    first = host.sockets["me"]
    with pytest.raises(AssertionError):
        eventually(lambda: taken(events).count(Reconnected()) > 1, 0.6)
    assert host.sockets["me"] is first
    socket.close()


def test_a_host_that_comes_back_is_connected_again_with_the_same_id(
    eventually: Eventually,
) -> None:
    events: queue.Queue[Any] = queue.Queue()
    with serving() as first:
        port = int(first.url.rsplit(":", 1)[1])
        socket = Listener(first.url, "me", events)
        eventually(lambda: first.sockets)
    with serving(FakeHost(), port) as second:
        eventually(lambda: "me" in second.sockets, 20)
    assert taken(events).count(Reconnected()) == 2
    socket.close()


def test_closing_wakes_a_reader_that_waits(host: FakeHost, eventually: Eventually) -> None:
    socket = Listener(host.url, "me", queue.Queue())
    eventually(lambda: host.sockets)
    socket.close()
    assert not socket._thread.is_alive()


def test_previews_are_dropped_when_the_owner_lags_and_states_never(host: FakeHost) -> None:
    events: queue.Queue[Any] = queue.Queue()
    socket = Listener("http://127.0.0.1:1", "me", events)
    for _ in range(500):
        socket._hand_on(b"\0\0\0\1\0\0\0\1JPEG")
        socket._hand_on('{"type": "execution_start", "data": {"prompt_id": "a"}}')
    held = taken(events)
    assert sum(isinstance(event, Preview) for event in held) <= listener.PREVIEWS_HELD
    assert len(held) - sum(isinstance(event, Preview) for event in held) == 500
    socket.close()


def test_a_host_that_checks_origins_takes_our_socket_under_each_of_its_names(
    eventually: Eventually,
) -> None:
    strict = OfferingHost()
    with serving(strict):
        port = strict.url.rsplit(":", 1)[1]
        for name in ("127.0.0.1", "localhost", "LOCALHOST"):
            socket = Listener(f"http://{name}:{port}", name, queue.Queue())
            eventually(lambda name=name: name in strict.sockets)
            socket.close()
    assert strict.refused == []


def test_the_check_of_origins_can_refuse() -> None:
    assert is_refused("127.0.0.1:8188", "http://localhost:8188")
    assert is_refused("localhost:8188", "http://evil.example")
    assert not is_refused("studio.lan:8188", "http://evil.example")
    assert not is_refused("127.0.0.1:8188", "http://127.0.0.1")


def test_a_proxy_of_the_environment_does_not_see_the_socket(
    eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    strict = OfferingHost()
    with serving(strict):
        socket = Listener(strict.url, "me", queue.Queue())
        eventually(lambda: "me" in strict.sockets)
        socket.close()
