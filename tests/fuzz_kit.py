"""Requests that no client would send: made from a seed, sent as bytes, judged by what comes back.

Each :class:`Shot` is what goes over one connection. The host must answer with anything but 5xx, or
hang up, within :data:`PATIENCE`; and no file may appear outside its folders.
"""

import json
import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

PATIENCE = 20.0  # seconds
POSTS = (
    "/prompt",
    "/queue",
    "/history",
    "/interrupt",
    "/free",
    "/upload/image",
    "/upload/mask",
    "/api/jobs/cancel",
    "/api/jobs/x/cancel",
    "/nosuch",
    "/settings",
)
GETS = (
    "/view",
    "/history",
    "/history/",
    "/object_info/",
    "/models/",
    "/view_metadata/",
    "/api/jobs",
    "/api/jobs/",
    "/",
    "/queue",
    "/ws",
)
FIELDS = (
    "filename",
    "subfolder",
    "type",
    "preview",
    "channel",
    "max_items",
    "offset",
    "limit",
    "status",
    "sort_by",
    "sort_order",
    "clientId",
    "workflow_id",
)
NASTY = (
    "",
    ".",
    "..",
    "../x.png",
    "../../../../etc/passwd",
    "/etc/passwd",
    "a/../../x.png",
    "..\\x.png",
    "x\0.png",
    "x" * 300,
    "x" * 5000,
    "ü\u202e名.png",
    "%2e%2e%2f",
    "x.png [input]",
    "x.png [temp]",
    "[output]",
    "CON",
    "-1",
    "1e309",
    "999999999999999999999999",
    "\ud800",
    "output",
    "input",
    "webp;90",
    "jpeg;99999999999999999999",
    "webp;-1",
    "\r\nX: y",
    "x.png\n",
    "~",
    "$HOME",
    " ",
    "x/.",
    "x/..",
    "./.",
)


@dataclass(frozen=True, slots=True)
class Shot:
    """What is sent over one connection.

    Attributes:
        name: what it is, for the report.
        payload: the request.
        frames: follow the handshake of a WebSocket.
        is_cut: the client stops sending after it, as if there were no more to come.
    """

    name: str
    payload: bytes
    frames: bytes = b""
    is_cut: bool = False


def shots(seed: int, count: int) -> Iterator[Shot]:
    """Yield ``count`` shots; the same for the same seed."""
    dice = random.Random(seed)
    makers: tuple[Callable[[random.Random], Shot], ...] = (
        _body,
        _graph,
        _graph,
        _path,
        _path,
        _upload,
        _length,
        _garbage,
        _frames,
    )
    for _ in range(count):
        yield dice.choice(makers)(dice)


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def _body(dice: random.Random) -> Shot:
    bodies = (
        dice.randbytes(dice.randrange(200)),
        _dump(_value(dice, 4)),
        _dump({"prompt": _value(dice, 3), "number": _value(dice, 0), "client_id": _value(dice, 1)}),
        _dump({"delete": _value(dice, 2), "clear": dice.random() < 0.1}),
        _dump({"job_ids": _value(dice, 2), "prompt_id": _value(dice, 1)}),
        b"[" * dice.choice((10, 1000, 200_000)),
        b'{"prompt":' * 5000,
        b'{"prompt": {"1": 1e999}}',
        _dump({"prompt": {}, "partial_execution_targets": _value(dice, 2)}),
    )
    path = dice.choice(POSTS)
    return Shot(f"body {path}", request("POST", path, dice.choice(bodies)))


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _value(dice: random.Random, depth: int) -> Any:
    plain = (None, True, False, 0, -1, 2**70, -(2**70), 0.5, 1e300, float("nan"), *NASTY)
    kind = dice.randrange(4) if depth else 0
    if kind <= 1:
        return dice.choice(plain)
    size = range(dice.randrange(5))
    if kind == 2:
        return [_value(dice, depth - 1) for _ in size]
    return {str(dice.choice(plain)): _value(dice, depth - 1) for _ in size}


def graph(dice: random.Random) -> dict[str, Any]:
    """Return a graph that runs in an instant."""
    image = {"width": 8, "height": 8, "batch_size": 1, "color": dice.randrange(1 << 24)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "f/x"}},
    }


def _graph(dice: random.Random) -> Shot:
    one = graph(dice)
    for _ in range(dice.randrange(1, 4)):
        _spoil(dice, one)
    body: dict[str, Any] = {"prompt": one}
    if dice.random() < 0.3:
        keys = ("prompt_id", "client_id", "number", "front", "extra_data")
        body[dice.choice(keys)] = _value(dice, 2)
    if dice.random() < 0.2:
        info = {"extra_pnginfo": _value(dice, 3), "create_time": _value(dice, 0)}
        body["extra_data"] = info
    return Shot("graph", request("POST", "/prompt", _dump(body)))


def _spoil(dice: random.Random, one: dict[str, Any]) -> None:
    """Change one thing; sizes stay small, as a valid large picture is no fault."""
    node = dice.choice(list(one) or ["1"])
    spec = one.setdefault(node, {})
    inputs = spec.get("inputs") if isinstance(spec, dict) else None
    match dice.randrange(7):
        case 0:
            one[dice.choice(("1", "x", "", "ü", "../x"))] = _value(dice, 2)
        case 1 if isinstance(spec, dict):
            spec["class_type"] = dice.choice((*NASTY, "SaveImage", "KSampler", "PreviewImage"))
        case 2 if isinstance(spec, dict):
            spec["inputs"] = _value(dice, 2)
        case 3 if isinstance(inputs, dict):
            inputs["filename_prefix"] = dice.choice(NASTY)
        case 4 if isinstance(inputs, dict):
            link = [dice.choice((*one, "77", 1)), dice.choice((0, 1, -1, 2**70, "0"))]
            inputs[dice.choice(("images", "width", "filename_prefix"))] = link
        case 5 if isinstance(inputs, dict):
            name = dice.choice(("width", "height", "batch_size", "color", "images"))
            inputs[name] = dice.choice((0, -1, 2**70, "8", "x", None, 1.5, True, {}, []))
        case _:
            one.pop(node)


def _path(dice: random.Random) -> Shot:
    path = dice.choice(GETS)
    if path.endswith("/"):
        path += dice.choice((quote(dice.choice(NASTY), safe="", errors="replace"), "..%2f..%2fx"))
    fields = [dice.choice(FIELDS) for _ in range(dice.randrange(4))]
    if path == "/view":
        fields = ["filename", *fields]
    safe = dice.choice(("", "/.%"))
    words = [f"{one}={quote(dice.choice(NASTY), safe=safe, errors='replace')}" for one in fields]
    prefix = dice.choice(("", "/api", "/api/.."))
    target = f"{prefix}{path}?{'&'.join(words)}"
    return Shot(f"path {target[:80]}", request(dice.choice(("GET", "GET", "HEAD")), target))


def _upload(dice: random.Random) -> Shot:
    fields = {name: dice.choice(NASTY) for name in ("subfolder", "type", "overwrite")}
    kept = {name: value for name, value in fields.items() if dice.random() < 0.5}
    if dice.random() < 0.5:
        reference = {"filename": dice.choice(NASTY), "subfolder": dice.choice(NASTY)}
        kept["original_ref"] = json.dumps(dice.choice((reference, _value(dice, 2))))
    edge, body = "edgeedge", b""
    for name, value in kept.items():
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        body += head.encode("utf-8", "replace")
    filename = dice.choice(NASTY)
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{filename}"\r\n\r\n'
    )
    body += head.encode("utf-8", "replace") + dice.randbytes(dice.randrange(50))
    body += dice.choice((f"\r\n--{edge}--\r\n".encode(), b"", b"\r\n--"))
    kind = dice.choice(
        ("multipart/form-data; boundary=edgeedge", "multipart/form-data", "text/plain")
    )
    path = dice.choice(("/upload/image", "/upload/mask", "/api/upload/image"))
    return Shot(f"upload {path}", request("POST", path, body, f"Content-Type: {kind}"))


def _length(dice: random.Random) -> Shot:
    length = dice.choice(("-1", "x", "0", "1", "104857601", "99999999999999999999", "1, 1", "٣"))
    heads = (
        f"Content-Length: {length}",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    )
    bodies = (b"zz\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"{}", b"ffffffffffffffffffff\r\n", b"")
    payload = request("POST", dice.choice(POSTS), dice.choice(bodies), dice.choice(heads))
    return Shot("length", payload, is_cut=True)


def _garbage(dice: random.Random) -> Shot:
    payloads = (
        dice.randbytes(dice.randrange(1, 300)) + b"\r\n\r\n",
        b"GET /" + b"a" * dice.choice((10_000, 70_000)) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        request("GET", "/prompt", b"", "X: " + "y" * 70_000),
        request("GET", "/prompt", b"", *(f"X{n}: y" for n in range(500))),
        request(dice.choice(("PUT", "DELETE", "PATCH", "TRACE", "FOO")), dice.choice(POSTS)),
        b"GET /prompt HTTP/9.9\r\n\r\n",
        b"GET http://evil.example/prompt HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        request("GET", "/prompt", b"", "Origin: " + dice.choice(NASTY).replace("\r\n", "")),
    )
    return Shot("garbage", dice.choice(payloads), is_cut=True)


def _frames(dice: random.Random) -> Shot:
    head = (
        f"GET /ws?clientId={quote(dice.choice(NASTY), errors='replace')} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: {dice.choice(('13', '13', '13', '99', 'x'))}\r\n"
        f"Sec-WebSocket-Key: {dice.choice(('dGhlIHNhbXBsZSBub25jZQ==', 'x', ''))}\r\n\r\n"
    )
    texts = (
        b"x",
        b"{}",
        b'{"type": "feature_flags"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"type": []}',
    )
    kinds = (0x81, 0x82, 0x80, 0x01, 0x88, 0x89, 0x8A, 0x83, 0xF1)
    frames = b"".join(
        frame(dice.choice(kinds), dice.choice(texts)) for _ in range(dice.randrange(1, 5))
    )
    return Shot(
        "frames", head.encode(), dice.choice((frames, dice.randbytes(50), b"\x88\x80\0\0\0\0"))
    )


def frame(first: int, content: bytes) -> bytes:
    """Return a masked frame (RFC 6455); the mask is zero."""
    size = len(content)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + content


def fire(port: int, shot: Shot) -> int | None:
    """Send a shot; return the status of the answer, None if the host just hung up.

    Raises:
        TimeoutError: it did neither within :data:`PATIENCE`.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        try:
            plain.sendall(shot.payload)
            if shot.is_cut:
                plain.shutdown(socket.SHUT_WR)
            answer = _head(plain)
            if shot.frames and b" 101 " in answer[:20]:
                plain.sendall(shot.frames)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(1 << 16):
                    pass
        except (ConnectionResetError, BrokenPipeError):
            return None
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def _head(plain: socket.socket) -> bytes:
    content = b""
    while b"\r\n\r\n" not in content:
        piece = plain.recv(1 << 16)
        if not piece:
            break
        content += piece
    return content


def outside(root: Path) -> set[Path]:
    """Return what lies below ``root``, but not in the host's own folders."""
    own = {root / name for name in ("output", "input", "temp")}
    return {path for path in root.rglob("*") if not own & {path, *path.parents}}
