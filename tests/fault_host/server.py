"""Serves a fault host: in a thread of the test, or as a process of its own."""

import asyncio
import json
import queue
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fault_host import routes, wire
from tests.fault_host.host import FakeHost
from tests.fault_host.run import work
from tests.fault_host.wire import Answer, Request, Socket

TURNS = 20  # of the loop, until a connection that was just being taken is there to be broken off
SLACK = 1 << 20  # a body this much too large is still read, so that the 413 is seen


class Server:
    """Takes a fault host's connections."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()

    async def serve(self, listening: socket.socket, over: asyncio.Event) -> None:
        """Serve until ``over`` is set, then break every connection off."""
        server = await asyncio.start_server(self._talk, sock=listening)
        tasks = [asyncio.create_task(work(self._host)), asyncio.create_task(self._host.publish())]
        await over.wait()
        server.close()
        for task in tasks:
            task.cancel()
        for _ in range(TURNS):
            for transport in list(self._transports):
                transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)  # so that the transports are closed before the loop is

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._transports.add(writer.transport)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._host.send_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._host.send_buffer)
        try:
            while request := await wire.read_request(reader, self._host.max_body + SLACK):
                headers = request.headers
                if not self._host.gate(headers.get("host", ""), headers.get("origin", "")):
                    await wire.write_answer(writer, Answer(403), 0.0)
                    continue
                if request.headers.get("upgrade", "").lower() == "websocket":
                    await self._follow(request, reader, writer)
                    return
                await self._reply(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()  # what is not sent yet goes on; so it stays known, to be broken off

    async def _reply(self, request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            answer = routes.answer(self._host, request)
        except routes.Unanswered as unanswered:
            if unanswered.reset:
                wire.reset(writer)
            return
        await wire.write_answer(writer, answer, self._host.faults.trickle)

    async def _follow(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, client = self._host, request.query.get("clientId", "made-by-the-host")
        connection = Socket(client, reader, writer)
        await connection.shake_hands(request)
        if host.faults.drop_sockets:
            connection.close()
            return
        host.sockets[client] = connection
        host.opened.append(connection)
        try:
            await self._greet(connection)
            await self._listen(connection)
        finally:
            # As ComfyUI does: the registration goes, whoever holds it by now (0.2).
            host.sockets.pop(client, None)
            host.opened.remove(connection)

    async def _greet(self, connection: Socket) -> None:
        host = self._host
        if host.faults.deaf:
            return
        left = len(host.queue) + (host.current is not None)
        status = {"status": {"exec_info": {"queue_remaining": left}}, "sid": connection.client}
        await connection.send(json.dumps({"type": "status", "data": status}))

    async def _listen(self, connection: Socket) -> None:
        first = True
        async for text in connection.texts():
            try:
                message = json.loads(text)
            except ValueError:
                continue
            if first and isinstance(message, dict):
                first = False
                await self._negotiate(connection, message)

    async def _negotiate(self, connection: Socket, message: dict[str, object]) -> None:
        if message.get("type") == "feature_flags" and not self._host.faults.deaf:
            connection.flags = True
            data = {"supports_preview_metadata": True, "max_upload_size": self._host.max_body}
            await connection.send(json.dumps({"type": "feature_flags", "data": data}))


@contextmanager
def serving(host: FakeHost | None = None, port: int = 0) -> Iterator[FakeHost]:
    """Serve a fault host in a thread until the block ends."""
    host = host or FakeHost()
    listening = socket.create_server(("127.0.0.1", port))
    host.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    started: queue.Queue[Callable[[], object]] = queue.Queue()

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        started.put(lambda: loop.call_soon_threadsafe(over.set))
        await Server(host).serve(listening, over)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    end = started.get(timeout=10)
    try:
        yield host
    finally:
        end()
        thread.join(10)
