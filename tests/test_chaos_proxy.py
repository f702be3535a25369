import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos_proxy import ChaosProxy, Way, proxied


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    """A proxy to a server that sends back what it is sent."""
    listening = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1000):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    with proxied(listening.getsockname()[1]) as served:
        yield served
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def connected(proxy: ChaosProxy, timeout: float = 5) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def said(connection: socket.socket) -> bytes:
    connection.sendall(b"hello")
    return connection.recv(5)


def test_it_forwards_both_ways(proxy: ChaosProxy) -> None:
    with connected(proxy) as connection:
        assert said(connection) == b"hello"


def test_a_reset_is_a_reset(proxy: ChaosProxy) -> None:
    with connected(proxy) as connection:
        said(connection)
        assert proxy.reset_all() == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("way", list(Way))
def test_a_half_open_connection_says_nothing_and_a_new_one_works(
    proxy: ChaosProxy, way: Way
) -> None:
    with connected(proxy) as connection, connected(proxy) as later:
        said(connection)
        assert proxy.half_open(way) >= 1
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            said(connection)
        later.close()
        with connected(proxy) as fresh:
            assert said(fresh) == b"hello"


def test_a_black_hole_lets_connecting_hang_until_it_is_filled(proxy: ChaosProxy) -> None:
    proxy.black_hole()
    with pytest.raises(TimeoutError):
        connected(proxy, 0.3).close()
    proxy.fill_hole()
    with connected(proxy) as connection:
        assert said(connection) == b"hello"
