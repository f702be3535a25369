"""The host's WebSocket, read by one thread of its own: frames in, events out.

The socket is a hint: what it says makes us quick, what it fails to say costs only time. So
every trouble has one answer: close, wait, connect again with the same clientId, and put a
:class:`Reconnected` into the stream, upon which the owner asks queue and history. The old
socket is always closed before the next opens, because ComfyUI drops the *new* registration
when an old one of the same clientId ends after it (Comfy-Org/ComfyUI#16010).

The thread never does anything but read: a client that stops reading stalls every other client
of the same ComfyUI. When the owner lags, previews are dropped, states never.
"""

import logging
import queue
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import websocket

from bridge import protocol
from bridge.protocol import Preview

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0  # seconds
PING_AFTER = 10.0  # seconds of silence; two in a row and the connection counts as dead
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts to connect
PREVIEWS_HELD = 64  # events that may wait before previews are dropped
READ_AHEAD = 1 << 16  # bytes
HELLO = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The socket is new: whatever was said in between is lost."""


class Listener:
    """Reads a host's socket in a daemon thread until :meth:`close`.

    Args:
        url: the host's base URL (http or https).
        client_id: the id our jobs are posted with.
        events: where events go; the owner may put things of its own there, to wake itself.
    """

    def __init__(self, url: str, client_id: str, events: queue.Queue[Any]) -> None:
        self._address = _ws_address(url, client_id)
        self._events = events
        self._closing = threading.Event()
        self._socket: websocket.WebSocket | None = None
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the connection."""
        self._closing.set()
        if self._socket is not None:
            self._socket.abort()  # unlike close(), it wakes a reader in another thread
        self._thread.join(timeout=CONNECT_TIMEOUT)

    def reconnect(self) -> None:
        """Give the connection up and open another: the host may have lost our registration."""
        if self._socket is not None:
            self._socket.abort()

    def _run(self) -> None:
        pauses = _pauses()
        while not self._closing.is_set():
            if self._read_one_connection():
                pauses = _pauses()
            self._closing.wait(next(pauses))

    def _read_one_connection(self) -> bool:
        """Connect and read until it breaks; tell whether a connection came about."""
        try:
            self._socket = websocket.create_connection(
                self._address,
                timeout=CONNECT_TIMEOUT,
                skip_utf8_validation=True,  # 166 ms per MB of text without wsaccel
                # websocket-client heeds `http_no_proxy` only beside a proxy of ours, and without
                # one takes the environment's. So it gets one, and uses it for nobody.
                http_proxy_host="unused.invalid",
                http_proxy_port=1,
                http_no_proxy=["*"],
            )
        except (OSError, websocket.WebSocketException) as error:
            logger.debug("no socket at %s: %s", self._address, error)
            return False
        # Frames are short and many; read one by one they take three system calls each.
        self._socket.frame_buffer.recv = _ReadAhead(self._socket.frame_buffer.recv)
        try:
            self._socket.send(HELLO)
            self._events.put(Reconnected())
            self._read_frames(self._socket)
        except (OSError, websocket.WebSocketException) as error:
            if not self._closing.is_set():
                logger.info("lost the socket (%s), connecting again", error)
        finally:
            self._socket.shutdown()
        return True

    def _read_frames(self, connection: websocket.WebSocket) -> None:
        connection.settimeout(PING_AFTER)
        silent = False
        while not self._closing.is_set():
            try:
                # With control frames, so that the pong of an idle host counts as a word.
                opcode, frame = connection.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if silent:
                    raise
                silent = True
                connection.ping()
                continue
            silent = False
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            if opcode == websocket.ABNF.OPCODE_TEXT:
                self._hand_on(frame.data.decode("utf-8", errors="replace"))
            elif opcode == websocket.ABNF.OPCODE_BINARY:
                self._hand_on(frame.data)

    def _hand_on(self, frame: str | bytes) -> None:
        event = protocol.parse(frame)
        if event is None:
            return
        if isinstance(event, Preview) and self._events.qsize() >= PREVIEWS_HELD:
            return
        self._events.put(event)


class _ReadAhead:
    """Reads what is there at once, and hands it out as it is asked for."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._ahead, self._at = b"", 0

    def __call__(self, most: int) -> bytes:
        if self._at == len(self._ahead):
            self._ahead, self._at = self._read(max(most, READ_AHEAD)), 0
        taken = self._ahead[self._at : self._at + most]
        self._at += len(taken)
        return taken


def _ws_address(url: str, client_id: str) -> str:
    return f"{url.replace('http', 'ws', 1)}/ws?{urlencode({'clientId': client_id})}"


def _pauses() -> Iterator[float]:
    """Yield growing pauses with jitter, so that clients do not return in step."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not cryptography
        pause = min(pause * 2, LONGEST_PAUSE)
