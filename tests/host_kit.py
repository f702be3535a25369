"""What the host's tests share: a host in a thread, its laboratory nodes, and recorded answers.

The laboratory nodes are those with which the transcripts were recorded from a real ComfyUI: one
that takes its time, one that fails, one that never looks at the interrupt flag.
"""

import io
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
import websocket
from PIL import Image

from host import messages, nodes
from host.__main__ import configure, listen, random_name
from host.access_token import Token
from host.executor import Executor
from host.folders import Folders
from host.hub import Hub
from host.interrupt import Interrupt
from host.job_queue import JobQueue, Wishes
from host.messages import ImageFormat
from host.node_inputs import integer, number, wire
from host.node_types import Context, Input, NodeTable, NodeType, Picture, Result
from host.parts import Parts
from host.server import application
from host.surroundings import Surroundings
from host.worker import Worker

TRANSCRIPTS = Path(__file__).parent / "data" / "transcripts"


class OutOfMemoryError(Exception):
    """Named like torch's."""


def _slow(
    context: Context, *, image: Any, seconds: float, steps: int, preview: bool, nonce: int
) -> Result:
    del nonce
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    picture = Picture(buffer.getvalue(), ImageFormat.JPEG) if preview else None
    for step in range(steps):
        time.sleep(seconds / steps)
        context.progress(step + 1, steps, picture)
    return Result((image,))


def _deaf(context: Context, *, image: Any, seconds: float, nonce: int) -> Result:
    del context, nonce
    time.sleep(seconds)
    return Result((image,))


def _fail(context: Context, *, image: Any, message: str, kind: str) -> Result:
    del context, image
    kinds = {"ValueError": ValueError, "RuntimeError": RuntimeError, "OOM": OutOfMemoryError}
    raise kinds[kind](message)


_NONCE = integer("nonce", 0, 0, 1 << 62)

LAB: tuple[NodeType, ...] = (
    NodeType(
        "LabSlow",
        (
            wire("image", "IMAGE"),
            number("seconds", 1.0, 0.0, 60.0),
            integer("steps", 1, 1, 1000),
            Input("preview", "BOOLEAN", {"default": False}),
            _NONCE,
        ),
        ("IMAGE",),
        _slow,
    ),
    NodeType(
        "LabSleepNoCheck",
        (wire("image", "IMAGE"), number("seconds", 1.0, 0.0, 60.0), _NONCE),
        ("IMAGE",),
        _deaf,
    ),
    NodeType(
        "LabFail",
        (wire("image", "IMAGE"), Input("message", "STRING"), Input("kind", "STRING")),
        ("IMAGE",),
        _fail,
    ),
)

TABLE: NodeTable = {**nodes.TABLE, **{row.name: row for row in LAB}}


def folders_below(root: Path) -> Folders:
    """Folders of a host that has no models."""
    return Folders(root / "models", root / "output", root / "input", root / "temp")


def no_engine() -> Any:
    """Stand in for the engine where no graph needs one."""
    raise AssertionError("this test must not need torch")


def surroundings(root: Path, table: NodeTable = TABLE) -> Surroundings:
    """Surroundings of a job without an engine."""
    return Surroundings(table, folders_below(root), no_engine, time.time, random_name)


# --- a host in this process ---


@dataclass
class LocalHost:
    """A host that serves in a thread."""

    url: str
    parts: Parts
    wishes: list[Wishes] = field(default_factory=list)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> "Answer":
        """Send a request; ``body`` goes as JSON, ``data`` as it is."""
        payload = json.dumps(body).encode() if body is not None else data
        request = urllib.request.Request(
            self.url + path, data=payload, method=method, headers=dict(headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str) -> "Answer":
        """Send a GET."""
        return self.request("GET", path)

    def post(self, path: str, body: object) -> "Answer":
        """Send a POST with a JSON body."""
        return self.request("POST", path, body)

    def submit(self, graph: object, **more: object) -> str:
        """Queue a graph; return its id."""
        answer = self.post("/prompt", {"prompt": graph, **more})
        assert answer.status == 200, answer.body
        return str(answer.json["prompt_id"])

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Wait until a job has ended; return its history entry."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            entry = self.get(f"/history/{quote(prompt_id)}").json.get(prompt_id)
            if entry:
                return dict(entry)
            time.sleep(0.01)
        raise AssertionError(f"job {prompt_id} did not end")

    @contextmanager
    def socket(self, client_id: str, flags: bool = False) -> Iterator["Client"]:
        """Connect a client."""
        with client(self.url, client_id, flags) as connected:
            yield connected


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """A client on the socket."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self.connection = connection

    def frame(self) -> dict[str, Any] | bytes:
        """Return the next frame: JSON, or the bytes of a binary one."""
        frame = self.connection.recv()
        return frame if isinstance(frame, bytes) else dict(json.loads(frame))

    def until_idle(self, prompt_id: str) -> list[dict[str, Any] | bytes]:
        """Return all frames up to the one that says that this job has ended."""
        frames: list[dict[str, Any] | bytes] = []
        while True:
            frame = self.frame()
            frames.append(frame)
            ended = {"type": "executing", "data": {"node": None, "prompt_id": prompt_id}}
            if frame == ended:
                return frames

    def until(self, kind: str) -> dict[str, Any]:
        """Return the next JSON frame of this type."""
        while True:
            frame = self.frame()
            if isinstance(frame, dict) and frame["type"] == kind:
                return frame

    def silent(self, seconds: float) -> bool:
        """Return whether nothing comes for this long."""
        self.connection.settimeout(seconds)
        with suppress(websocket.WebSocketTimeoutException):
            self.frame()
            return False
        return True

    def waiting(self, seconds: float = 0.3) -> list[dict[str, Any] | bytes]:
        """Return what comes until it is quiet for this long."""
        self.connection.settimeout(seconds)
        frames = []
        with suppress(websocket.WebSocketTimeoutException):
            while True:
                frames.append(self.frame())
        return frames


@contextmanager
def client(url: str, client_id: str, flags: bool = False) -> Iterator[Client]:
    """Connect to a host; with ``flags``, negotiate preview metadata."""
    address = url.replace("http", "ws", 1) + f"/ws?clientId={client_id}"
    connection = websocket.create_connection(address, timeout=20)
    try:
        if flags:
            data = {"supports_preview_metadata": True}
            connection.send(json.dumps({"type": "feature_flags", "data": data}))
        yield Client(connection)
    finally:
        connection.close()


@contextmanager
def serving(
    root: Path,
    table: NodeTable = TABLE,
    *,
    token: Token | None = None,
    limit: int | None = None,
) -> Iterator[LocalHost]:
    """Run a host without an engine in a thread of this process."""
    queue, interrupt = JobQueue(), Interrupt()
    hub = Hub(lambda: queue.remaining)
    executor = Executor(surroundings(root, table), interrupt, hub.send_soon)
    wishes: list[Wishes] = []
    worker = Worker(queue, executor, interrupt, hub.send_soon, wishes.append)
    folders = folders_below(root)
    node = lambda: executor.current_node  # noqa: E731 - read at each call
    parts = Parts(queue, hub, interrupt, folders, table, list, node, time.time)
    listener = listen(0)
    config = configure(parts, token)
    if limit is not None:
        config.app = application(parts, token, limit)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    worker.start()
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield LocalHost(f"http://127.0.0.1:{listener.getsockname()[1]}", parts, wishes)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def form(files: dict[str, tuple[str, bytes]], fields: dict[str, str]) -> tuple[bytes, str]:
    """Return a multipart body and its content type."""
    edge = "edgeedgeedge"
    body = b""
    for name, value in fields.items():
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        body += f"{head}{value}\r\n".encode()
    for name, (filename, content) in files.items():
        head = f'form-data; name="{name}"; filename="{filename}"'
        body += f"--{edge}\r\nContent-Disposition: {head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


# --- recorded answers ---


def transcript(name: str) -> Any:
    """Return what a real ComfyUI said."""
    return json.loads((TRANSCRIPTS / f"{name}.json").read_text())


def alike(value: Any) -> Any:
    """Return a frame or body without what differs between two equal runs.

    Times, counters in file names, random names and generated ids.
    """
    if isinstance(value, dict):
        return {
            key: 0 if key in ("timestamp", "number") else alike(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [alike(one) for one in value]
    if isinstance(value, str):
        value = re.sub(r"_\d{5}_\.png$", "_N.png", value)
        return re.sub(r"^ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_R_", value)
    return value


class Collector:
    """Takes messages where no socket is."""

    def __init__(self) -> None:
        self.messages: list[tuple[messages.Message, str | None]] = []

    def __call__(self, message: messages.Message, client_id: str | None) -> None:
        """Take one."""
        self.messages.append((message, client_id))


def image(color: int = 1, size: int = 64) -> dict[str, Any]:
    inputs = {"width": size, "height": size, "batch_size": 1, "color": color}
    return {"class_type": "EmptyImage", "inputs": inputs}


def saved(color: int = 1, prefix: str = "lab") -> dict[str, Any]:
    save = {"images": ["1", 0], "filename_prefix": prefix}
    return {"1": image(color), "9": {"class_type": "SaveImage", "inputs": save}}


def slow(seconds: float, steps: int, nonce: int = 0) -> dict[str, Any]:
    inputs = {"image": ["1", 0], "seconds": seconds, "steps": steps, "preview": False}
    graph = saved(time.time_ns() & 0xFFFFFF)  # never from the cache
    graph["2"] = {"class_type": "LabSlow", "inputs": {**inputs, "nonce": nonce or time.time_ns()}}
    graph["9"]["inputs"]["images"] = ["2", 0]
    return graph
