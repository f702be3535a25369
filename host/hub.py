"""The sockets: who is connected under which client id, and what each one still has to be sent.

Each socket has its own bounded queue, so that a client which stops reading delays nobody: when its
queue is full it is closed, and may come back and read the history. Several sockets may share one
client id (a reconnect before the old socket died); messages go to the newest that is alive, and
closing one never removes another. Runs in the event loop; :meth:`Hub.send_soon` is the door for
other threads. Does not know what a message means.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from host import frames, messages
from host.frames import Frame
from host.messages import Event, Message

logger = logging.getLogger(__name__)

QUEUE_FRAMES = 4096
"""Frames that may wait for one client: some minutes of progress, or a short stall."""

QUEUE_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for one client: a batch of large pictures."""

MAX_UPLOAD = 100 * 1024 * 1024

FEATURES: Mapping[str, Any] = {"supports_preview_metadata": True, "max_upload_size": MAX_UPLOAD}
"""What the host can do, as ``GET /features`` and the handshake say it."""


class Transport(Protocol):
    """The part of a WebSocket that the hub needs (Starlette's has it)."""

    async def send_text(self, data: str) -> None:
        """Send a text frame, waiting while the peer does not read."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary frame, waiting while the peer does not read."""


class Socket:
    """One connected client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiting: asyncio.Queue[Frame] = asyncio.Queue(QUEUE_FRAMES)
        self._waiting_bytes = 0
        self._greeted = False
        self.preview_metadata = False
        self.overflow = asyncio.Event()
        """Set when the client has fallen too far behind: its connection is to be dropped."""

    def say(self, event: Event) -> None:
        """Queue a message for this client alone."""
        self.put(frames.text(event))

    def put(self, frame: Frame) -> None:
        """Queue a frame; once the queue has overflowed, frames are dropped."""
        if self.overflow.is_set():
            return
        if self._waiting.full() or self._waiting_bytes + len(frame) > QUEUE_BYTES:
            logger.warning("a client does not read its socket: its connection is dropped")
            self.overflow.set()
            return
        self._waiting_bytes += len(frame)
        self._waiting.put_nowait(frame)

    async def pump(self) -> None:
        """Send what is queued, for as long as the connection lives."""
        while True:
            frame = await self._waiting.get()
            self._waiting_bytes -= len(frame)
            if isinstance(frame, str):
                await self._transport.send_text(frame)
            else:
                await self._transport.send_bytes(frame)

    def hear(self, text: str) -> Event | None:
        """Take a text frame from the client; return the answer, if it deserves one.

        Only the first object counts: it may announce feature flags. Everything else is ignored.
        """
        data = _object(text)
        if data is None or self._greeted:
            return None
        self._greeted = True
        if data.get("type") != "feature_flags":
            return None
        flags = data.get("data")
        wants = isinstance(flags, dict) and bool(flags.get("supports_preview_metadata"))
        self.preview_metadata = wants
        return Event("feature_flags", FEATURES)


class Hub:
    """All connected clients."""

    def __init__(self, remaining: Callable[[], int]) -> None:
        """Make a hub; ``remaining`` returns the queue length for the first frame of a socket."""
        self._remaining = remaining
        self._sockets: dict[str, list[Socket]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say in which loop the sockets live; until then messages are dropped: nobody listens."""
        self._loop = loop

    def send_soon(self, message: Message, client_id: str | None) -> None:
        """Send from any thread; messages keep their order."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.send, message, client_id)

    def send(self, message: Message, client_id: str | None) -> None:
        """Send to one client, or to everybody if ``client_id`` is None. Call in the loop."""
        encoded: dict[bool, list[Frame]] = {}
        for socket in self._receivers(client_id):
            flags = socket.preview_metadata
            if flags not in encoded:
                encoded[flags] = frames.encode(message, preview_metadata=flags)
            for frame in encoded[flags]:
                socket.put(frame)

    def _receivers(self, client_id: str | None) -> list[Socket]:
        if client_id is not None:
            return self._sockets.get(client_id, [])[-1:]
        return [sockets[-1] for sockets in self._sockets.values()]

    def enter(self, transport: Transport, client_id: str | None) -> tuple[str, Socket]:
        """Register a connection and greet it; return its client id, made here if it has none."""
        sid = client_id or uuid.uuid4().hex
        socket = Socket(transport)
        self._sockets.setdefault(sid, []).append(socket)
        socket.say(messages.status(self._remaining(), sid))
        return sid, socket

    def leave(self, client_id: str, socket: Socket) -> None:
        """Forget this connection, and no other of the same client."""
        sockets = self._sockets.get(client_id, [])
        if socket in sockets:
            sockets.remove(socket)
        if not sockets:
            self._sockets.pop(client_id, None)

    @property
    def count(self) -> int:
        """Return how many connections are open."""
        return sum(len(sockets) for sockets in self._sockets.values())


def _object(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
