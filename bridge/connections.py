"""HTTP/1.1 to one host over kept-open connections, with no more per request than it needs.

A job is three requests, and where jobs are short the client's own work is what one waits for:
httpx takes 1.2 ms of processor time a request, ``http.client`` 0.4, this less than half of that.
Thread-safe: each request has a connection to itself. Proxies of the environment are never used:
WSL hands out ``HTTP_PROXY`` for Windows' benefit.

What is known here is whether a request can have arrived, which is what its caller must know before
asking again. What the answers mean is :mod:`bridge.client`'s part.
"""

import base64
import select
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

from bridge import exchange
from bridge.exchange import Answer, BadAnswer

KEPT = 4  # idle connections: the worker's and three filers'


class NotSent(Exception):  # noqa: N818 - names the state
    """The request certainly did not reach the host."""


class NoAnswer(Exception):  # noqa: N818 - names the state
    """The request may have reached the host, and no whole answer came."""


class _Line:
    """One open connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.stream = connection.makefile("rb")

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


class Connections:
    """Connections to one host.

    Args:
        url: base URL, http or https; a path and ``user:password@`` are honoured.
        connect_timeout: seconds; short, as under WSL2's mirrored networking a closed port may
            swallow the SYN for two minutes (microsoft/WSL#10855).

    Raises:
        ValueError: no address that can be spoken to.
    """

    def __init__(self, url: str, connect_timeout: float) -> None:
        self._parts = urlsplit(url)
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise ValueError(f"{url} is no http:// address")
        self._port = self._parts.port  # raises ValueError for one that is no number
        self._connect_timeout = connect_timeout
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._path = self._parts.path.rstrip("/")
        host = self._parts.netloc.rpartition("@")[2]
        same = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "vulcan"}
        self._headers = same | _authorization(self._parts)

    def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def ask(
        self,
        method: str,
        path: str,
        timeout: float,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send a request and return the whole answer.

        Args:
            method: GET or POST.
            path: below the base URL, query included.
            timeout: seconds without a byte of the answer.
            body: of a POST.
            content_type: the body's.

        Raises:
            NotSent: no connection.
            NoAnswer: anything after that.
        """
        sent = exchange.request(
            method, self._path + path, self._headers_of(body, content_type), body
        )
        # A host may hang up on an idle connection just as it is used again. What only asks is asked
        # again then; what changes something has a new connection, so that there is no doubt.
        try:
            kept = self._kept() if method == "GET" else None
            if kept is not None:
                with suppress(ConnectionError, BadAnswer):
                    return self._exchanged(kept, sent, timeout)
            return self._exchanged(self._opened(), sent, timeout)
        except (OSError, BadAnswer) as error:
            raise NoAnswer(_told(error)) from error

    def _exchanged(self, line: _Line, sent: bytes, timeout: float) -> Answer:
        try:
            line.socket.settimeout(timeout)
            line.socket.sendall(sent)
            answer = exchange.read(line.stream)
        except (OSError, BadAnswer):
            line.close()
            raise
        self._give_back(line, answer.is_last)
        return answer

    def _headers_of(self, body: bytes | None, content_type: str) -> dict[str, str]:
        return self._headers if body is None else {**self._headers, "Content-Type": content_type}

    def _kept(self) -> _Line | None:
        """Return an idle connection that the host has not closed, if there is one."""
        with self._lock:
            while self._idle:
                line = self._idle.pop()
                if not _has_ended(line.socket):
                    return line
                line.close()
        return None

    def _opened(self) -> _Line:
        try:
            return _Line(self._connect())
        except OSError as error:
            raise NotSent(_told(error)) from error

    def _connect(self) -> socket.socket:
        host, secure = str(self._parts.hostname), self._parts.scheme == "https"
        port = self._port or (443 if secure else 80)
        connection = socket.create_connection((host, port), self._connect_timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not secure:
            return connection
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)

    def _give_back(self, line: _Line, is_used_up: bool) -> None:
        with self._lock:
            if not is_used_up and len(self._idle) < KEPT:
                self._idle.append(line)
                return
        line.close()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _has_ended(connection: socket.socket) -> bool:
    """Tell whether the host closed an idle connection: then there is something to read."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
