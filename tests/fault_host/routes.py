"""ComfyUI's HTTP routes on the fault host, and two of our own to steer it from another process.

``POST /fault/set`` takes fields of the host and of its faults by name; ``GET /fault/state``
tells what the host did. Both answer even while everything else hangs.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.fault_host.faults import take
from tests.fault_host.graph import outputs
from tests.fault_host.host import Entry, FakeHost
from tests.fault_host.wire import Answer, Request, as_json, trouble

NO_PROMPT = {
    "type": "no_prompt",
    "message": "No prompt provided",
    "details": "No prompt provided",
    "extra_info": {},
}
Body = dict[str, Any]


class Unanswered(Exception):  # noqa: N818 - names the outcome
    """The request is to get no answer; ``reset`` says how the connection ends."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__(reset)
        self.reset = reset


def answer(host: FakeHost, request: Request) -> Answer:
    """Answer one request.

    Raises:
        Unanswered: as a fault asks for.
    """
    path = re.sub("^/api(?=/)", "", request.path)
    if path.startswith("/fault/"):
        return _fault(host, path, request)
    if host.faults.silent:
        raise Unanswered
    if int(request.headers.get("content-length", 0)) > host.max_body:
        return Answer(413, f"Maximum request body size {host.max_body} exceeded.".encode())
    first = "/" + path.split("/")[1]
    route = _ROUTES.get((request.method, first))
    if route is None:
        return Answer(404 if request.method in ("GET", "HEAD") else 405)
    try:
        return route(host, request)
    except (ValueError, TypeError, AttributeError, KeyError):
        return trouble()


def _fault(host: FakeHost, path: str, request: Request) -> Answer:
    if path == "/fault/state":
        return as_json(_state(host))
    for name, value in json.loads(request.body or b"{}").items():
        if name in ("forget", "half_open", "deafen"):
            getattr(host, name)()
            continue
        owner = next((o for o in (host.faults, host, host.catalogue) if hasattr(o, name)), None)
        if owner is None:
            return as_json({"error": f"no such switch: {name}"}, 400)
        setattr(owner, name, value)
    return as_json({})


def _state(host: FakeHost) -> Body:
    return {
        "posts": len(host.posts),
        "pending": host.pending,
        "running": host.running,
        "rendered": len(host.rendered),
        "saved": len(host.saved),
        "busy": host.busy,
        "first": host.first,
        "last": host.last,
        "posted_at": host.posted_at,
        "clients": list(host.sockets),
    }


def _post_prompt(host: FakeHost, request: Request) -> Answer:
    body = json.loads(request.body)
    if "prompt" not in body:
        return as_json({"error": NO_PROMPT, "node_errors": {}}, 400)
    entry = _entry(host, body)
    host.posts.append(entry.id)
    host.note("post", entry.id)
    if host.faults.refuse:
        return as_json(_refused(), 400)
    if host.validating:
        error, findings, entry.ends = host.catalogue.complaint(entry.graph)
        if error:
            return as_json({"error": error, "node_errors": findings}, 400)
    else:
        findings = {}
    if take(host.faults, "lose_posts"):
        return Answer(500, b"lost")
    return _queued(host, entry, findings)


def _queued(host: FakeHost, entry: Entry, findings: Body) -> Answer:
    clean = host.put(entry)
    if take(host.faults, "accept_in_silence"):
        raise Unanswered
    if take(host.faults, "cut_posts"):
        raise Unanswered(reset=True)
    if take(host.faults, "accept_then_500") or not clean:
        return trouble()
    if host.faults.half_valid:
        findings = _refused()["node_errors"]
    return as_json({"prompt_id": entry.id, "number": entry.number, "node_errors": findings})


def _entry(host: FakeHost, body: Body) -> Entry:
    number: float = float(body["number"]) if "number" in body else host.number
    if body.get("front") and "number" not in body:
        number = -number
    host.number += 1
    client = body.get("client_id")
    extra = {**body.get("extra_data", {}), **({"client_id": client} if client else {})}
    job = str(body.get("prompt_id", uuid.uuid4()))
    host.posted_at.setdefault(job, time.monotonic())
    return Entry(number, job, body["prompt"], extra, outputs(body["prompt"]), client)


def _refused() -> Body:
    problem = {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "unet_name: 'x.gguf'",
        "extra_info": {"input_name": "unet_name"},
    }
    finding = {"errors": [problem], "dependent_outputs": ["11"], "class_type": "UnetLoaderGGUF"}
    error = {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": "",
        "extra_info": {},
    }
    return {"error": error, "node_errors": {"1": finding}}


def _get_prompt(host: FakeHost, _: Request) -> Answer:
    left = len(host.queue) + (host.current is not None)
    return as_json({"exec_info": {"queue_remaining": left}})


def _get_queue(host: FakeHost, _: Request) -> Answer:
    running = [host.current.shown()] if host.current else []
    pending = [entry.shown() for entry in host.queue]
    return as_json({"queue_running": running, "queue_pending": pending})


def _post_queue(host: FakeHost, request: Request) -> Answer:
    body = json.loads(request.body)
    if body.get("clear"):
        host.queue.clear()
        host.tell_status()
    for job in body.get("delete", []):
        host.delete(str(job))
    return Answer()


def _interrupt(host: FakeHost, request: Request) -> Answer:
    body = json.loads(request.body) if request.body else {}
    host.interrupt(body.get("prompt_id"))
    return Answer()


def _get_history(host: FakeHost, request: Request) -> Answer:
    _, _, job = request.path.removeprefix("/api").removeprefix("/history").partition("/")
    if job:
        return as_json({job: host.history[job]} if job in host.history else {})
    most = int(request.query.get("max_items", 10_000))
    return as_json(dict(list(host.history.items())[-most:]))


def _post_history(host: FakeHost, request: Request) -> Answer:
    body = json.loads(request.body)
    if body.get("clear"):
        host.history.clear()
    for job in body.get("delete", []):
        host.history.pop(job, None)
    return Answer()


def _view(host: FakeHost, request: Request) -> Answer:
    query = request.query
    name, folder = query["filename"], query.get("subfolder", "")
    if not name or name.startswith("/") or ".." in name:
        return Answer(400)
    if host.catalogue.windows:
        folder = folder.replace("\\", "/")
    shelf = host.uploads if query.get("type") == "input" else host.files
    content = shelf.get((folder, name))
    if content is None:
        return Answer(404)
    if take(host.faults, "truncated"):
        content = content[: len(content) // 2]
    return Answer(200, content, "image/png", cut=take(host.faults, "cut_views"))


def _upload(host: FakeHost, request: Request) -> Answer:
    fields = _multipart(request)
    name, content = fields["image"]
    folder = fields.get("subfolder", ("", b""))[1].decode()
    overwrite = fields.get("overwrite", ("", b""))[1] in (b"true", b"1")
    stem, dot, suffix = name.rpartition(".")
    number, free = 0, name
    while not overwrite and host.uploads.get((folder, free), content) != content:
        number += 1
        free = f"{stem} ({number}){dot}{suffix}"
    host.uploads[(folder, free)] = content
    listed = f"{folder}/{free}" if folder else free
    if listed not in host.catalogue.models["input"]:
        host.catalogue.models["input"].append(listed)
    return as_json({"name": free, "subfolder": folder, "type": "input"})


def _multipart(request: Request) -> dict[str, tuple[str, bytes]]:
    """Read a form: by field name, its file name and content."""
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    fields: dict[str, tuple[str, bytes]] = {}
    for part in request.body.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        words = head.decode()
        name = re.search(r'\bname="([^"]*)"', words)
        file = re.search(r'filename="([^"]*)"', words)
        assert name is not None
        fields[name[1]] = (file[1] if file else "", content.removesuffix(b"\r\n"))
    return fields


def _object_info(host: FakeHost, request: Request) -> Answer:
    wanted = request.path.removeprefix("/api").removeprefix("/object_info").strip("/")
    return as_json(host.catalogue.info(wanted or None))


def _models(host: FakeHost, request: Request) -> Answer:
    folder = request.path.removeprefix("/api").removeprefix("/models").strip("/")
    if not folder:
        return as_json(list(host.catalogue.models))
    return (
        as_json(host.catalogue.listed(folder)) if folder in host.catalogue.models else Answer(404)
    )


def _system_stats(host: FakeHost, _: Request) -> Answer:
    system = {
        "os": "nt" if host.catalogue.windows else "posix",
        "comfyui_version": "0.3.64",
        "ram_total": 16 << 30,
        "ram_free": 8 << 30,
        "python_version": "3.11",
        "pytorch_version": "2.8.0+cpu",
        "embedded_python": False,
        "argv": ["main.py"],
        **host.system,
    }
    device = {
        "name": "fake",
        "type": "cuda",
        "index": 0,
        "vram_total": 6 << 30,
        "vram_free": 5 << 30,
        "torch_vram_total": 0,
        "torch_vram_free": 0,
        **host.device,
    }
    return as_json({"system": system, "devices": [device]})


def _free(host: FakeHost, request: Request) -> Answer:
    body = json.loads(request.body)
    host.freed.append(body)
    if body.get("free_memory"):
        host.cache.clear()
    return Answer()


def _features(host: FakeHost, _: Request) -> Answer:
    return as_json({"supports_preview_metadata": True, "max_upload_size": host.max_body})


_ROUTES: dict[tuple[str, str], Callable[[FakeHost, Request], Answer]] = {
    ("GET", "/"): lambda _host, _request: Answer(200, b"<!doctype html>", "text/html"),
    ("GET", "/prompt"): _get_prompt,
    ("POST", "/prompt"): _post_prompt,
    ("GET", "/queue"): _get_queue,
    ("POST", "/queue"): _post_queue,
    ("POST", "/interrupt"): _interrupt,
    ("GET", "/history"): _get_history,
    ("POST", "/history"): _post_history,
    ("GET", "/view"): _view,
    ("POST", "/upload"): _upload,
    ("GET", "/object_info"): _object_info,
    ("GET", "/models"): _models,
    ("GET", "/system_stats"): _system_stats,
    ("POST", "/free"): _free,
    ("GET", "/features"): _features,
}
