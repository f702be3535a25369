"""HTTP/1.1 and WebSocket on plain streams: small enough to break off at any byte.

A finished server library would mend or hide the very faults that this host is for: a body that
ends too early, a reset in the middle of a frame, a peer that is there and says nothing.
"""

import asyncio
import base64
import hashlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"  # aiohttp's words
PIECE = 256  # bytes between two pauses of a trickle
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``cut`` breaks the connection in the middle of the body."""

    status: int = 200
    body: bytes = b""
    kind: str = TEXT
    cut: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def as_json(body: Any, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(body).encode(), JSON)


def trouble() -> Answer:
    """Answer as aiohttp does when a handler raised."""
    return Answer(500, TROUBLE.encode())


async def read_request(reader: asyncio.StreamReader, most: int) -> Request | None:
    """Read a request; ``None`` at the end of the connection. A body above ``most`` is left."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length = int(headers.get("content-length", 0))
    body = await reader.readexactly(length) if length <= most else b""
    parts = urlsplit(target)
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)


async def write_answer(writer: asyncio.StreamWriter, answer: Answer, trickle: float) -> None:
    """Write an answer, in one go or in pieces."""
    headers = {
        "Content-Type": answer.kind,
        "Date": format_datetime(datetime.now(UTC), usegmt=True),
        **answer.headers,
    }
    headers["Content-Length"] = str(len(answer.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = HTTPStatus(answer.status).phrase
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n{lines}\r\n".encode()
    data = head + (answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
    for at in range(0, len(data), PIECE if trickle else len(data)):
        writer.write(data[at : at + PIECE] if trickle else data)
        await writer.drain()
        await asyncio.sleep(trickle)
    if answer.cut:
        reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN: what a crashed peer or a lost route looks like."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Socket:
    """The server's end of one WebSocket.

    Attributes:
        client: the clientId it was opened with.
        flags: whether it asked for previews with metadata.
        half_open: it swallows what comes and says nothing, pongs included.
    """

    def __init__(
        self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.client, self.flags, self.half_open = client, False, False
        self._reader, self._writer = reader, writer

    async def shake_hands(self, request: Request) -> None:
        """Answer the upgrade."""
        given = request.headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(given + _GUID).digest()).decode()
        self._writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        await self._writer.drain()

    async def send(self, frame: str | bytes, broken: bool = False) -> None:
        """Send a message; ``broken`` resets the connection half way through it."""
        kind = _TEXT if isinstance(frame, str) else _BINARY
        payload = frame.encode() if isinstance(frame, str) else frame
        data = _frame(kind, payload)
        if broken:
            self._writer.write(data[: len(data) // 2])
            await asyncio.sleep(0.01)  # so that the half is on its way before the reset
            self.reset()
        elif not self.half_open:
            self._writer.write(data)
            await self._writer.drain()

    async def texts(self) -> AsyncIterator[str]:
        """Yield what the client says until it goes; answers pings."""
        while True:
            kind, payload = await self._read_frame()
            if self.half_open:
                continue
            if kind == _CLOSE:
                self._writer.write(_frame(_CLOSE, payload[:2]))
                return
            if kind == _PING:
                self._writer.write(_frame(_PONG, payload))
            if kind == _TEXT:
                yield payload.decode(errors="replace")

    def close(self) -> None:
        """End the connection in an orderly way."""
        self._writer.write(_frame(_CLOSE, struct.pack(">H", 1001)))
        self._writer.close()

    def reset(self) -> None:
        """End the connection with RST."""
        reset(self._writer)

    async def _read_frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(await self._reader.readexactly(size), "big")
        mask = await self._reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
        data = await self._reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def _frame(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x80 | kind, size]) + payload
    if size < 1 << 16:
        return bytes([0x80 | kind, 126]) + struct.pack(">H", size) + payload
    return bytes([0x80 | kind, 127]) + struct.pack(">Q", size) + payload
