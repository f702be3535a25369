"""One HTTP/1.1 request and its answer, over a connection that stays open.

The part of HTTP that a host speaks, and no more (RFC 9112)::

    POST /prompt HTTP/1.1            HTTP/1.1 200 OK
    Host: 127.0.0.1:8188             Content-Length: 41
    Content-Length: 1289
                                     {"prompt_id": ...
    {"prompt": ...

A body has a length, comes in chunks, or goes on until the host hangs up. Answers are read whole;
one that breaks these rules, or its limits, is no answer. Headers are kept as bytes until asked for:
``http.client`` reads them as e-mail, which costs more than all the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

LONGEST_LINE = 1 << 16  # bytes of a status line, a header or a chunk's size
MOST_HEADERS = 200
LONGEST_BODY = 1 << 30  # bytes: a long video, but no endless stream
PIECE = 1 << 20  # bytes read at once where no length is told


class BadAnswer(ValueError):  # noqa: N818 - names what came
    """What came is no HTTP answer, or only part of one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status.
        content: the body.
        headers: by lower-case name.
        is_last: the host takes no other request on this connection.
    """

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_last: bool = False

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


def request(method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Write a request; ``target`` and headers are ASCII without line breaks."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


def read(stream: BinaryIO) -> Answer:
    """Read an answer.

    Args:
        stream: buffered, and of this connection alone.

    Raises:
        BadAnswer: it is not whole, or not HTTP.
        OSError: the connection broke, or was silent too long.
    """
    version, status = _status(stream)
    headers = _headers(stream)
    while 100 <= status < 200:  # "go on", "processing": the answer follows
        version, status = _status(stream)
        headers = _headers(stream)
    told = headers.get("connection", "").lower()
    is_last = told == "close" or (version == b"HTTP/1.0" and told != "keep-alive")
    if status in (204, 304):
        return Answer(status, b"", headers, is_last)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return Answer(status, _chunks(stream), headers, is_last)
    if "content-length" not in headers:
        return Answer(status, _to_the_end(stream), headers, is_last=True)
    return Answer(status, _exactly(stream, headers["content-length"], 10), headers, is_last)


def _status(stream: BinaryIO) -> tuple[bytes, int]:
    line = _line(stream)
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit() or len(code) != 3:
        raise BadAnswer(f"it begins with {line[:40]!r}" if line else "it hung up")
    return version, int(code)


def _headers(stream: BinaryIO) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        line = _line(stream)
        if line in (b"\r\n", b"\n"):
            return found
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadAnswer(f"its header is {line[:40]!r}")
        found[name.strip().lower()] = value.strip()
    raise BadAnswer(f"it has more than {MOST_HEADERS} headers")


def _chunks(stream: BinaryIO) -> bytes:
    parts: list[bytes] = []
    left = LONGEST_BODY
    while True:
        size = _line(stream).partition(b";")[0].strip().decode("latin-1")
        part = _exactly(stream, size, 16, left)
        left -= len(part)
        if not part:
            _headers(stream)  # trailers
            return b"".join(parts)
        parts.append(part)
        if _line(stream).strip():
            raise BadAnswer("its chunk is longer than it says")


def _to_the_end(stream: BinaryIO) -> bytes:
    parts: list[bytes] = []
    left = LONGEST_BODY
    while piece := stream.read(min(PIECE, left + 1)):
        parts.append(piece)
        left -= len(piece)
        if left < 0:
            raise BadAnswer("it has no end")
    return b"".join(parts)


def _exactly(stream: BinaryIO, told: str, base: int, most: int | None = None) -> bytes:
    try:
        length = int(told, base)
    except ValueError as error:
        raise BadAnswer(f"its length is {told[:40]!r}") from error
    if length < 0 or not told.isalnum():
        raise BadAnswer(f"its length is {told[:40]!r}")
    if length > (LONGEST_BODY if most is None else most):
        raise BadAnswer(f"its length is {told[:40]}")
    content = stream.read(length)
    if len(content) != length:
        raise BadAnswer(f"it breaks off after {len(content)} of {length} bytes")
    return content


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if line and not line.endswith(b"\n"):
        raise BadAnswer("it breaks off, or has a line without end")
    return line
