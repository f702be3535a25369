"""HTTP to a host: what arrives, what may have arrived, and connections that are kept."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from bridge.connections import Connections, NoAnswer, NotSent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[socket.socket], None]


@contextmanager
def scripted(*scripts: Script) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each connection by a script of its own; collect what is sent first on each."""
    heard: list[bytes] = []

    def play(script: Script, connection: socket.socket) -> None:
        with connection:
            heard.append(connection.recv(65536))
            script(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:

        def serve() -> None:
            for script in scripts:
                threads.submit(play, script, listening.accept()[0])

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
        serving.join(10)


def answer(connection: socket.socket) -> None:
    connection.sendall(OK)
    connection.settimeout(5)
    while connection.recv(65536):
        connection.sendall(OK)


def test_one_connection_serves_many_requests() -> None:
    with scripted(answer) as (url, _):
        connections = Connections(url, 1)
        for _ in range(5):
            assert connections.ask("GET", "/x", 5).content == b"ok"
        connections.close()


def test_a_connection_that_the_host_closed_is_not_used_again(
    eventually: Callable[..., None],
) -> None:
    closed = threading.Event()

    def once(connection: socket.socket) -> None:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with scripted(once, answer) as (url, heard):
        connections = Connections(url, 1)
        connections.ask("GET", "/1", 5)
        closed.wait(5)
        assert connections.ask("POST", "/2", 5, b"{}").status == 200
        connections.close()
    assert len(heard) == 2


def test_what_only_asks_is_asked_again_when_the_host_hangs_up_on_a_kept_connection() -> None:
    def hang_up_on_the_second(connection: socket.socket) -> None:
        connection.sendall(OK)
        connection.recv(65536)

    with scripted(hang_up_on_the_second, answer) as (url, heard):
        connections = Connections(url, 1)
        connections.ask("GET", "/1", 5)
        assert connections.ask("GET", "/2", 5).content == b"ok"
        connections.close()
    assert len(heard) == 2


def test_what_changes_something_never_goes_over_a_kept_connection() -> None:
    with scripted(answer, answer) as (url, heard):
        connections = Connections(url, 1)
        connections.ask("GET", "/1", 5)
        connections.ask("POST", "/2", 5, b"{}")
        connections.close()
    assert [said.split()[0] for said in heard] == [b"GET", b"POST"]


def test_what_never_left_is_told_from_what_may_have_arrived() -> None:
    with pytest.raises(NotSent):
        Connections("http://127.0.0.1:1", 1).ask("GET", "/", 1)
    with scripted(lambda connection: None) as (url, _), pytest.raises(NoAnswer):
        Connections(url, 1).ask("POST", "/prompt", 1, b"{}")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
)
def test_half_an_answer_is_none(said: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(said)

    with scripted(say) as (url, _), pytest.raises(NoAnswer):
        Connections(url, 1).ask("GET", "/", 1)


def test_silence_is_waited_for_as_long_as_was_said() -> None:
    over = threading.Event()
    with scripted(lambda connection: (over.wait(5), None)[1]) as (url, _):
        with pytest.raises(NoAnswer):
            Connections(url, 1).ask("GET", "/", 0.2)
        over.set()


def test_a_path_and_a_password_in_the_address_are_honoured() -> None:
    with scripted(answer) as (url, heard):
        connections = Connections(url.replace("http://", "http://me:p%40ss@") + "/comfy/", 1)
        connections.ask("GET", "/queue", 5)
        connections.close()
    assert heard[0].startswith(b"GET /comfy/queue HTTP/1.1\r\n")
    assert b"Authorization: Basic bWU6cEBzcw==" in heard[0]


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "nonsense"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Connections(url, 1)


def test_the_environment_s_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with scripted(answer) as (url, _):
        connections = Connections(url, 1)
        assert connections.ask("GET", "/", 5).is_success
        connections.close()
