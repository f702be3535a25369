"""Real ports on which no ComfyUI is: silent, babbling, dripping, swallowing, other servers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HTTP_OK = b"HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def answering(reply: bytes, drip: float = 0.0) -> Iterator[str]:
    """Take connections and send ``reply`` to each, then close.

    Args:
        reply: what is sent once a request came.
        drip: seconds between single bytes; 0 sends all at once.
    """
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            pieces = [reply[i : i + 1] for i in range(len(reply))] if drip else [reply]
            for piece in pieces:
                connection.sendall(piece)
                if over.wait(drip):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield _url(listening)
        over.set()
        thread.join(5)


@contextmanager
def silent() -> Iterator[str]:
    """Take connections and say nothing, as a ComfyUI that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield _url(listening)


@contextmanager
def swallowing() -> Iterator[str]:
    """Swallow connections: the backlog is full, so the kernel drops every SYN.

    It looks from outside as a closed port does under mirrored networking (microsoft/WSL#10855).
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [_knock(listening.getsockname()) for _ in range(4)]
        yield _url(listening)
        for connection in waiting:
            connection.close()


def closed() -> str:
    """Return the URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return _url(listening)


def _knock(address: tuple[str, int]) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    with suppress(BlockingIOError):
        connection.connect(address)
    return connection


def _url(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"
