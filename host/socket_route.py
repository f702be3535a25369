"""The WebSocket route: one client from its coming to its going.

Three things happen at once: the client's words are heard, its messages are sent, and the hub may
say that it has fallen too far behind. Whichever ends first ends the connection.
"""

import asyncio
from collections.abc import Callable

from starlette.websockets import WebSocket

from host.hub import Hub, Socket
from host.job_queue import JobQueue
from host.messages import Event


class SocketRoute:
    """The handler of ``/ws``."""

    def __init__(self, hub: Hub, queue: JobQueue, current_node: Callable[[], str | None]) -> None:
        self._hub = hub
        self._queue = queue
        self._current_node = current_node

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it goes, or has fallen too far behind."""
        await websocket.accept()
        wanted = websocket.query_params.get("clientId")
        client_id, socket = self._hub.enter(websocket, wanted)
        self._resume(client_id, socket)
        work = (_listen(websocket, socket), socket.pump(), socket.overflow.wait())
        tasks = [asyncio.ensure_future(part) for part in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(client_id, socket)
            for task in tasks:
                task.cancel()
            # Exceptions included: a send that fails because the client went is no news.
            await asyncio.gather(*tasks, return_exceptions=True)

    def _resume(self, client_id: str, socket: Socket) -> None:
        """Tell a client that comes back which node of its job runs now."""
        job, node = self._queue.running, self._current_node()
        if job is not None and job.client_id == client_id and node is not None:
            socket.say(Event("executing", {"node": node}))


async def _listen(websocket: WebSocket, socket: Socket) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        answer = socket.hear(text) if text is not None else None
        if answer is not None:
            socket.say(answer)
