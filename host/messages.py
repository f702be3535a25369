"""What the host says on the socket, as values; pure.

The executor makes these values, the hub turns them into frames (:mod:`host.frames`) and decides who
gets them. Nothing here knows of sockets or threads.

Order within one progress step differs by client: a client that negotiated preview metadata gets the
preview (type 4) before ``progress``, any other client gets it (type 1) after. Hence ``Step`` is one
value and is only taken apart per socket.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

BROADCAST = None
"""Recipient of what every connected client gets."""


class ImageFormat(IntEnum):
    """The format number inside a type 1 frame."""

    JPEG = 1
    PNG = 2

    @property
    def mime(self) -> str:
        """Return the MIME type as a type 4 frame names it."""
        return f"image/{self.name.lower()}"


@dataclass(frozen=True, slots=True)
class Event:
    """A JSON message: ``{"type": name, "data": data}``."""

    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """An encoded image that belongs to a node of a running job."""

    image: bytes
    format: ImageFormat
    node_id: str
    prompt_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one node: new progress, maybe with a picture."""

    state: Event
    progress: Event
    preview: Preview | None = None


Message = Event | Step


def status(remaining: int, sid: str | None = None) -> Event:
    """Return the queue length message; ``sid`` only in the first frame of a socket."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    if sid is not None:
        data["sid"] = sid
    return Event("status", data)


def executing(node: str | None, prompt_id: str) -> Event:
    """Return the "this node runs now" message; ``node`` None means that history is there."""
    if node is None:
        return Event("executing", {"node": None, "prompt_id": prompt_id})
    return Event("executing", {"node": node, "display_node": node, "prompt_id": prompt_id})


def executed(node: str, output: Mapping[str, Any], prompt_id: str) -> Event:
    """Return the message that carries what an output node shows."""
    return Event(
        "executed",
        {"node": node, "display_node": node, "output": output, "prompt_id": prompt_id},
    )


class ProgressBoard:
    """How far every started node of one job is; makes the ``progress_state`` messages."""

    def __init__(self, prompt_id: str) -> None:
        self._prompt_id = prompt_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node: str) -> Event:
        """Enter a node as running, 0 of 1."""
        self._nodes[node] = self._entry(node, 0.0, 1.0, "running")
        return self._event()

    def update(self, node: str, value: int, total: int) -> Event:
        """Note that a running node has done ``value`` of ``total`` steps."""
        self._nodes[node] = self._entry(node, value, total, "running")
        return self._event()

    def finish(self, node: str) -> Event:
        """Note that a node has ended, or was taken from the cache."""
        total = self._nodes[node]["max"] if node in self._nodes else 1
        self._nodes[node] = self._entry(node, total, total, "finished")
        return self._event()

    def _entry(self, node: str, value: float, total: float, state: str) -> dict[str, Any]:
        return {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node,
            "prompt_id": self._prompt_id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }

    def _event(self) -> Event:
        return Event("progress_state", {"prompt_id": self._prompt_id, "nodes": dict(self._nodes)})
