"""HTTP/1.1 to one host over kept-open connections, with no more per request than it needs.

A job is three requests, and where jobs are short the client's own work is what one waits for: the
standard library's ``http.client`` takes a third of httpx's processor time (0.4 ms a request against
1.2), so it is used directly. Thread-safe: each request has a connection to itself. Proxies of the
environment are never used: WSL hands out ``HTTP_PROXY`` for Windows' benefit.

What is known here is whether a request can have arrived, which is what its caller must know before
asking again. What the answers mean is :mod:`bridge.client`'s part.
"""

import base64
import http.client
import json
import select
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

KEPT = 4  # idle connections: the worker's and three filers'


class NotSent(Exception):  # noqa: N818 - names the state
    """The request certainly did not reach the host."""


class NoAnswer(Exception):  # noqa: N818 - names the state
    """The request may have reached the host, and no whole answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status.
        content: the body.
        headers: by lower-case name.
    """

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Tell whether the host did what it was asked."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """Return the body as text, whatever it is."""
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """Read the body.

        Raises:
            ValueError: it is no JSON.
        """
        return json.loads(self.content)


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
        self._idle: list[http.client.HTTPConnection] = []
        self._headers = _authorization(self._parts)

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
        connection = self._connected()
        try:
            assert connection.sock is not None  # noqa: S101 - it is connected
            connection.sock.settimeout(timeout)
            headers = {**self._headers, **({"Content-Type": content_type} if body else {})}
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException, AttributeError) as error:
            connection.close()
            raise NoAnswer(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        self._give_back(connection, response.will_close)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, content, headers)

    def _connected(self) -> http.client.HTTPConnection:
        """Return an idle connection that the host has not closed, or a new one."""
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not _has_ended(connection.sock):
                    return connection
                connection.close()
        kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
        if self._parts.scheme == "https":
            kind = http.client.HTTPSConnection
        connection = kind(str(self._parts.hostname), self._port, timeout=self._connect_timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise NotSent(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        return connection

    def _give_back(self, connection: http.client.HTTPConnection, used_up: bool) -> None:
        with self._lock:
            if not used_up and len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()


def _has_ended(connection: socket.socket | None) -> bool:
    """Tell whether the host closed an idle connection: then there is something to read."""
    if connection is None:
        return True
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
