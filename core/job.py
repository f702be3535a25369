"""A job: one request on its way, as one frozen value. The journal keeps and moves them.

Life of a job; every arrow is one compare-and-set in the journal::

    queued -> sent -> running -> rendered -> done
       ^        |        |          |
       +--------+--------+----------+      lost, moved or to be tried again, with the same id
       +--------+--------+----------+--->  failed | cancelled
       ^                                     |
       +-------------------------------------+   asked for with `retry`
"""

import hashlib
import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bridge.answers import ImageRef
from bridge.request import Request

JOBS = uuid.UUID("5c0a3d43-6ab0-4f3c-9f5f-7a6c8c6b7f10")  # namespace of job ids
# What differs from image to image without a host caring.
_FREE = ("prompt", "negative", "seed", "template", "cell", "asked", "image", "pair")


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    SENT = "sent"
    RUNNING = "running"
    RENDERED = "rendered"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (State.QUEUED, State.SENT, State.RUNNING, State.RENDERED)
ON_HOST = (State.SENT, State.RUNNING, State.RENDERED)
ENDED = (State.DONE, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way.

    Attributes:
        id: UUID; the prompt_id on every host.
        claim: unique name of the claimed prompt file.
        file: the user's name of that file.
        batch: sub-folder it was dropped in, empty for the inbox itself.
        index: 1-based place in the file.
        name: stem of the picture's file name.
        state: where it is.
        priority: higher goes first.
        needs: :func:`needs` of its request.
        request: everything about the image.
        host: key of the host it was sent to, empty before.
        attempts: how often it was sent.
        losses: how often its host vanished, or forgot it, while it ran.
        strikes: how it failed so far, one fingerprint each.
        images: what the host holds, once rendered.
        paths: where the pictures are or are about to be.
        error: why it failed.
        moved: time of the last change of state.
        sent, started, finished: times, ``None`` until then.
    """

    id: str
    claim: str
    file: str
    batch: str
    index: int
    name: str
    state: State
    priority: int
    needs: str
    request: Request
    host: str
    attempts: int
    losses: int
    strikes: tuple[str, ...]
    images: tuple[ImageRef, ...]
    paths: tuple[Path, ...]
    error: str
    moved: float
    sent: float | None
    started: float | None
    finished: float | None

    @property
    def seconds(self) -> float | None:
        """How long the host and filing took, without the wait in the host's queue."""
        begin = self.started or self.sent
        return self.finished - begin if self.finished and begin else None


def job_id(claim: str, index: int) -> str:
    """Derive a job's id from what it is, so that it is the same after every crash."""
    return str(uuid.uuid5(JOBS, f"{claim}#{index}"))


def needs(request: Request) -> str:
    """Return a short name for what a host must have to run this.

    Equal for requests that only differ in text, seed or picture: a host that is fit for one is
    fit for all of them.
    """
    fixed = {key: value for key, value in request.to_dict().items() if key not in _FREE}
    text = json.dumps([fixed, request.image is not None, bool(request.negative)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
