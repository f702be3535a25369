"""ComfyUI's WebSocket frames -> typed events. No I/O: a frame goes in, a value comes out.

Text frames are JSON, ``{"type": ..., "data": {...}}``. A job's events come in this order
(observed on ComfyUI 0.3.64; ``docs/ARCHITECTURE.md`` lists what is made of them)::

    status* execution_start execution_cached
        ( executing (progress_state progress preview)* executed? )*    one round per node
    execution_success | execution_error | execution_interrupted
    status executing{node: null}

``executing`` with ``node: null`` and a prompt_id is the one that counts: the history entry is
there by then, whatever the outcome. ``execution_success`` may come *before* it.

Binary frames are big-endian, a u32 type first::

    1  preview               u32 image format (1 JPEG, 2 PNG), image
    3  text                  u32 n, node id (n bytes), UTF-8 text
    4  preview with metadata u32 n, JSON (n bytes), image

Frames we do not know, or that break these rules, become ``None``: a host may be newer than we
are, and the socket is only a hint.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Status:
    """The length of the host's queue changed; ``sid`` only in the first frame of a socket."""

    queue_remaining: int
    sid: str | None


@dataclass(frozen=True, slots=True)
class Started:
    """The host took the job up."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Cached:
    """These nodes will not run: their results are still there from an earlier job."""

    prompt_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Executing:
    """A node began to run."""

    prompt_id: str | None
    node: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A node has done ``value`` of ``maximum`` steps."""

    prompt_id: str
    node: str
    value: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture of the work in progress; ``prompt_id`` only with metadata frames."""

    prompt_id: str | None
    media_type: str
    image: bytes


@dataclass(frozen=True, slots=True)
class Executed:
    """An output node is done."""

    prompt_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job is done; its history entry may not be there yet."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A node raised."""

    prompt_id: str
    node: str
    node_type: str
    exception_type: str
    message: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Somebody interrupted the job."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The host left the job, and its history entry exists."""

    prompt_id: str


Event = (
    Status
    | Started
    | Cached
    | Executing
    | Progressed
    | Preview
    | Executed
    | Succeeded
    | Failed
    | Interrupted
    | Ended
)

# Sent at every step with the state of every node so far, and says nothing that `progress` does
# not: half of all that comes, so it is not even read.
_WORDY = '{"type": "progress_state"'
_IMAGE_FORMATS = {1: "image/jpeg", 2: "image/png"}


def parse(frame: str | bytes) -> Event | None:
    """Read one frame; ``None`` for one that is unknown or malformed."""
    try:
        return _binary(frame) if isinstance(frame, bytes) else _text(frame)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        return None


def _text(frame: str) -> Event | None:
    if frame.startswith(_WORDY):
        return None
    message = json.loads(frame)
    reader = _READERS.get(message["type"])
    return reader(message["data"]) if reader else None


def _status(data: Mapping[str, Any]) -> Status:
    return Status(int(data["status"]["exec_info"]["queue_remaining"]), data.get("sid"))


def _executing(data: Mapping[str, Any]) -> Executing | Ended | None:
    prompt_id, node = data.get("prompt_id"), data["node"]
    if node is None:
        return Ended(str(prompt_id)) if prompt_id else None
    # A reconnecting client is told the running node without a prompt_id.
    return Executing(prompt_id, str(node))


def _failed(data: Mapping[str, Any]) -> Failed:
    return Failed(
        str(data["prompt_id"]),
        str(data["node_id"]),
        str(data.get("node_type", "")),
        str(data.get("exception_type", "")),
        str(data.get("exception_message", "")).strip(),
    )


_READERS: Mapping[str, Any] = {
    "status": _status,
    "execution_start": lambda data: Started(str(data["prompt_id"])),
    "execution_cached": lambda data: Cached(str(data["prompt_id"]), tuple(map(str, data["nodes"]))),
    "executing": _executing,
    "progress": lambda data: Progressed(
        str(data["prompt_id"]), str(data["node"]), int(data["value"]), int(data["max"])
    ),
    "executed": lambda data: Executed(str(data["prompt_id"]), str(data["node"])),
    "execution_success": lambda data: Succeeded(str(data["prompt_id"])),
    "execution_error": _failed,
    "execution_interrupted": lambda data: Interrupted(str(data["prompt_id"])),
}


def _binary(frame: bytes) -> Preview | None:
    kind, word = struct.unpack_from(">II", frame)
    if kind == 1:
        return Preview(None, _IMAGE_FORMATS[word], frame[8:])
    if kind == 4:
        metadata = json.loads(frame[8 : 8 + word])
        return Preview(metadata.get("prompt_id"), metadata["image_type"], frame[8 + word :])
    return None
