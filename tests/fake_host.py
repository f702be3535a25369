"""A ComfyUI that does as the test says: a real server on a port of its own, with faults on order.

It keeps queue and history as ComfyUI does, renders by making a small PNG, and misbehaves in the
ways that reference transcripts show: forgets everything, queues and answers 500, says nothing on
the socket, ends late. Rendering is driven by the test or runs by itself.
"""

import asyncio
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


def png(seed: int) -> bytes:
    """Make a 1 x 1 picture that depends on the seed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + seed.to_bytes(8, "big")[-3:])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )


@dataclass
class Faults:
    """What goes wrong, until the test says otherwise."""

    deaf: bool = False  # sockets are accepted and told nothing
    accept_then_500: int = 0  # so many posts are queued and answered 500
    lose_posts: int = 0  # so many posts are answered 500 and forgotten
    drop_sockets: bool = False  # sockets are closed as soon as they are open
    fail_nodes: bool = False  # jobs end in execution_error
    no_files: bool = False  # history names pictures that /view does not have
    refuse: bool = False  # validation fails


@dataclass
class FakeHost:
    """The host's state, for the test to look at and to change."""

    url: str = ""
    step_time: float = 0.0  # seconds per step
    steps: int = 3
    paused: bool = False
    faults: Faults = field(default_factory=Faults)
    pending: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    graphs: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)  # every prompt_id posted, in order
    rendered: list[str] = field(default_factory=list)
    sockets: dict[str, WebSocket] = field(default_factory=dict)

    def forget(self) -> None:
        """Lose queue and history, as a restart does; files stay."""
        self.pending.clear()
        self.running.clear()
        self.history.clear()

    # Rendering

    async def work(self) -> None:
        """Render what is queued, one after the other, for ever."""
        while True:
            if self.paused or not self.pending:
                await asyncio.sleep(0.002)
                continue
            job = self.pending.pop(0)
            self.running.append(job)
            await self._render(job)
            if job in self.running:  # not forgotten meanwhile
                self.running.remove(job)
                await self._tell("executing", {"node": None, "prompt_id": job})

    async def _render(self, job: str) -> None:
        await self._tell("execution_start", {"prompt_id": job, "timestamp": 0})
        await self._tell("executing", {"node": "8", "display_node": "8", "prompt_id": job})
        for step in range(1, self.steps + 1):
            await asyncio.sleep(self.step_time)
            data = {"value": step, "max": self.steps, "prompt_id": job, "node": "8"}
            await self._tell("progress", data)
        if job not in self.running:
            return
        self.rendered.append(job)
        if self.faults.fail_nodes:
            self._end(job, "error", {}, [("execution_error", self._error(job))])
            await self._tell("execution_error", self._error(job))
            return
        image = self._save(job)
        self._end(job, "success", {"11": {"images": [image]}}, [])
        await self._tell(
            "executed", {"node": "11", "output": {"images": [image]}, "prompt_id": job}
        )
        await self._tell("execution_success", {"prompt_id": job, "timestamp": 0})

    def _save(self, job: str) -> dict[str, str]:
        graph = self.graphs[job]
        prefix = next(
            node["inputs"]["filename_prefix"]
            for node in graph.values()
            if "filename_prefix" in node["inputs"]
        )
        seed = next(n["inputs"]["seed"] for n in graph.values() if "seed" in n["inputs"])
        folder, _, name = prefix.rpartition("/")
        image = {"filename": f"{name}_00001_.png", "subfolder": folder, "type": "output"}
        if not self.faults.no_files:
            self.files[(folder, image["filename"])] = png(seed)
        return image

    def _end(self, job: str, status: str, outputs: Any, messages: Any) -> None:
        self.history[job] = {
            "prompt": [0, job, self.graphs[job], {}, ["11"]],
            "outputs": outputs,
            "status": {
                "status_str": status,
                "completed": status == "success",
                "messages": messages,
            },
            "meta": {},
        }

    def _error(self, job: str) -> dict[str, Any]:
        return {
            "prompt_id": job,
            "node_id": "8",
            "node_type": "KSampler",
            "exception_type": "ValueError",
            "exception_message": "boom\n",
        }

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        if self.faults.deaf:
            return
        for connection in list(self.sockets.values()):
            try:
                await connection.send_json({"type": kind, "data": data})
            except (RuntimeError, WebSocketDisconnect):
                continue

    # Routes

    async def post_prompt(self, request: Request) -> Response:
        body = json.loads(await request.body())
        job = body["prompt_id"]
        self.posts.append(job)
        if self.faults.refuse:
            finding = {
                "class_type": "UnetLoaderGGUF",
                "errors": [{"message": "Value not in list", "details": "unet_name: 'x.gguf'"}],
            }
            error = {"message": "Prompt outputs failed validation", "details": ""}
            return JSONResponse({"error": error, "node_errors": {"1": finding}}, 400)
        if self.faults.lose_posts > 0:
            self.faults.lose_posts -= 1
            return PlainTextResponse("lost", 500)
        self.graphs[job] = body["prompt"]
        self.pending.append(job)
        if self.faults.accept_then_500 > 0:
            self.faults.accept_then_500 -= 1
            return PlainTextResponse("queued all the same", 500)
        return JSONResponse({"prompt_id": job, "number": len(self.posts), "node_errors": {}})

    async def get_queue(self, _: Request) -> Response:
        def entries(jobs: list[str]) -> list[Any]:
            return [[number, job, {}, {}, []] for number, job in enumerate(jobs)]

        return JSONResponse(
            {"queue_running": entries(self.running), "queue_pending": entries(self.pending)}
        )

    async def post_queue(self, request: Request) -> Response:
        for job in (await request.json()).get("delete", []):
            if job in self.pending:
                self.pending.remove(job)
        return Response()

    async def get_history(self, request: Request) -> Response:
        job = request.path_params["job"]
        return JSONResponse({job: self.history[job]} if job in self.history else {})

    async def view(self, request: Request) -> Response:
        query = request.query_params
        picture = self.files.get((query.get("subfolder", ""), query["filename"]))
        return Response(picture, media_type="image/png") if picture else Response(status_code=404)

    async def system_stats(self, _: Request) -> Response:
        return JSONResponse(
            {
                "system": {"os": "posix", "comfyui_version": "0.3.64"},
                "devices": [{"name": "fake", "vram_free": 1}],
            }
        )

    async def object_info(self, request: Request) -> Response:
        name = request.path_params["name"]
        combo = {"input": {"required": {"unet_name": [["x.gguf"], {}]}}}
        return JSONResponse({name: combo} if name == "UnetLoaderGGUF" else {})

    async def interrupt(self, _: Request) -> Response:
        return Response()

    async def websocket(self, connection: WebSocket) -> None:
        client = connection.query_params["clientId"]
        await connection.accept()
        if self.faults.drop_sockets:
            await connection.close()
            return
        status = {"status": {"exec_info": {"queue_remaining": len(self.pending)}}, "sid": client}
        if not self.faults.deaf:
            await connection.send_json({"type": "status", "data": status})
        self.sockets[client] = connection
        try:
            while True:
                await connection.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            if self.sockets.get(client) is connection:
                del self.sockets[client]

    def application(self) -> Starlette:
        """Build the routes."""
        return Starlette(
            routes=[
                Route("/prompt", self.post_prompt, methods=["POST"]),
                Route("/queue", self.get_queue, methods=["GET"]),
                Route("/queue", self.post_queue, methods=["POST"]),
                Route("/history/{job}", self.get_history),
                Route("/view", self.view),
                Route("/system_stats", self.system_stats),
                Route("/object_info/{name}", self.object_info),
                Route("/interrupt", self.interrupt, methods=["POST"]),
                WebSocketRoute("/ws", self.websocket),
            ]
        )


@contextmanager
def serving(host: FakeHost | None = None, port: int = 0) -> Iterator[FakeHost]:
    """Serve a fake host in a thread until the block ends."""
    host = host or FakeHost()
    listening = socket.create_server(("127.0.0.1", port))
    host.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(host.application(), log_level="error", ws="websockets-sansio")
    server = uvicorn.Server(config)

    async def serve() -> None:
        worker = asyncio.create_task(host.work())
        await server.serve(sockets=[listening])
        worker.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield host
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(5)
