"""A TCP proxy between a director and any host, which spoils connections on order.

It forwards bytes and knows nothing of what they mean. On order it resets what is open, swallows
one or both directions without an end to see (half-open), delays every piece, or lets new
connections hang as a closed port does under WSL2's mirrored networking.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

Result = TypeVar("Result")
PIECE = 65536


class Way(Enum):
    """Directions of a connection, as the director sees them."""

    TO_HOST = "to the host"
    FROM_HOST = "from the host"
    BOTH = "both"


@dataclass
class _Pair:
    """One connection: the director's side and the host's."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    swallows_up: bool = False
    swallows_down: bool = False


class ChaosProxy:
    """Forwards one port to another; every order may come from any thread.

    Attributes:
        url: what the director is given.
        delay: seconds that each piece is held back.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._pairs: list[_Pair] = []
        self._hole: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    # Orders

    def reset_all(self) -> int:
        """Reset every open connection on the director's side; return how many there were."""
        return self._call(self._reset_all)

    def half_open(self, way: Way = Way.BOTH) -> int:
        """Swallow what goes this way on every connection that is open now, from now on."""
        return self._call(lambda: self._half_open(way))

    def black_hole(self) -> None:
        """Let new connections hang: the port is there and its backlog is full."""
        self._call(self._dig)

    def fill_hole(self) -> None:
        """Accept again."""
        self._call(self._fill)

    def _reset_all(self) -> int:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            raw = pair.near.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            pair.near.transport.abort()
            pair.far.transport.abort()
        return len(pairs)

    def _half_open(self, way: Way) -> int:
        for pair in self._pairs:
            pair.swallows_up |= way is not Way.FROM_HOST
            pair.swallows_down |= way is not Way.TO_HOST
        return len(self._pairs)

    def _dig(self) -> None:
        if self._hole:
            return
        self._loop.remove_reader(self._listening.fileno())
        self._listening.listen(0)  # the kernel drops SYNs once one connection waits
        for _ in range(3):
            plug = socket.socket()
            plug.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                plug.connect(("127.0.0.1", self.port))
            self._hole.append(plug)

    def _fill(self) -> None:
        for plug in self._hole:
            plug.close()
        if self._hole:
            self._hole = []
            self._listening.listen(128)
            self._accept()

    # Forwarding

    def _accept(self) -> None:
        self._loop.add_reader(self._listening.fileno(), self._take)

    def _take(self) -> None:
        try:
            near, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        task = self._loop.create_task(self._connect(near))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, near: socket.socket) -> None:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=near)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()  # nobody behind us: as a refused connection, a moment late
            return
        pair = _Pair(writer, far_writer)
        self._pairs.append(pair)
        try:
            await asyncio.gather(
                self._forward(reader, far_writer, lambda: pair.swallows_up),
                self._forward(far_reader, writer, lambda: pair.swallows_down),
            )
        finally:
            writer.transport.abort()
            far_writer.transport.abort()
            if pair in self._pairs:
                self._pairs.remove(pair)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        swallows: Callable[[], bool],
    ) -> None:
        try:
            while data := await reader.read(PIECE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not swallows():
                    writer.write(data)
                    await writer.drain()
        except ConnectionError:
            pass
        if not swallows():  # a half-open connection does not hand on its end either
            writer.close()

    # Life

    def _call(self, order: Callable[[], Result]) -> Result:
        done: list[Result] = []
        said = threading.Event()

        def carry_out() -> None:
            try:
                done.append(order())
            finally:
                said.set()

        self._loop.call_soon_threadsafe(carry_out)
        if not said.wait(10) or not done:
            raise RuntimeError("the proxy did not carry out an order")
        return done[0]

    async def serve(self, ready: threading.Event) -> None:
        """Forward until :meth:`stop`."""
        self._listening.setblocking(False)
        self._accept()
        ready.set()
        await self._over.wait()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        self._reset_all()
        for plug in self._hole:
            plug.close()
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # so that the transports are closed before the loop is

    def run(self, ready: threading.Event) -> None:
        """Serve in this thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.serve(ready))
        finally:
            self._loop.close()

    def stop(self) -> None:
        """End the proxy and every connection through it."""
        self._loop.call_soon_threadsafe(self._over.set)


@contextmanager
def proxied(target: int) -> Iterator[ChaosProxy]:
    """Run a proxy to this port of 127.0.0.1 in a thread until the block ends."""
    proxy, ready = ChaosProxy(target), threading.Event()
    thread = threading.Thread(target=proxy.run, args=(ready,), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(10)
