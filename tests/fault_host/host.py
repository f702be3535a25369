"""The fault host's state: queue, history, files, sockets; for the test to look at and to change.

Rendering is :mod:`tests.fault_host.run`'s part, HTTP :mod:`tests.fault_host.routes`'. Everything
runs in one event loop; tests in other threads set fields and read them, as with a real host they
would set its fate and read its logs.
"""

import asyncio
import json
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tests.fault_host.catalogue import Catalogue
from tests.fault_host.faults import Faults, take
from tests.fault_host.graph import Graph
from tests.fault_host.wire import Socket

BROADCAST = ("status", "progress", "progress_state", "execution_interrupted")  # without client_id
IDLE = 0.02  # seconds between looks at switches that are set from outside


@dataclass
class Entry:
    """One queued graph."""

    number: float
    id: str
    graph: Graph
    extra: dict[str, Any]
    ends: list[str]
    client: str | None

    def shown(self) -> list[Any]:
        """Return what /queue and /history show of it."""
        return [self.number, self.id, self.graph, self.extra, self.ends]


def _open(_host: str, _origin: str) -> bool:
    return True


def _no_note(_what: str, _job: str) -> None:
    pass


@dataclass
class FakeHost:
    """A ComfyUI that does as the test says.

    Attributes:
        url: where it serves.
        step_time: seconds per step.
        steps: steps of a sampler.
        preview: bytes of the picture sent with each step; 0 for none.
        paused: nothing is taken from the queue.
        validating: graphs are checked against the catalogue.
        graphs: every posted graph by id.
        posts: every prompt_id posted, in order.
        rendered: every job that was executed to its end, cached ones too.
        saved: every job a file was written for, once per run.
        system: what GET /system_stats says otherwise of the system, by key.
        device: likewise of the device.
        gate: given a request's Host and Origin, tells whether it is let in.
        freed: what POST /free asked for.
        posted_at: when a job's first POST was read, by CLOCK_MONOTONIC.
        busy: seconds with a job in execution; ``first`` and ``last`` are its edges.
        note: told of every ``post``, ``save`` and ``end``, for a log that outlives the host.
    """

    url: str = ""
    step_time: float = 0.0
    steps: int = 3
    preview: int = 0
    paused: bool = False
    validating: bool = False
    max_body: int = 104_857_600
    send_buffer: int = 0  # bytes of SO_SNDBUF; 0 for the system's own
    faults: Faults = field(default_factory=Faults)
    catalogue: Catalogue = field(default_factory=Catalogue)
    system: dict[str, Any] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    gate: Callable[[str, str], bool] = _open
    graphs: dict[str, Graph] = field(default_factory=dict)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: MutableMapping[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[tuple[str, str], bytes] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    freed: list[dict[str, Any]] = field(default_factory=list)
    interrupts: list[str | None] = field(default_factory=list)
    posted_at: dict[str, float] = field(default_factory=dict)
    sockets: dict[str, Socket] = field(default_factory=dict)
    opened: list[Socket] = field(default_factory=list)
    queue: list[Entry] = field(default_factory=list)
    current: Entry | None = None
    interrupted: bool = False
    loaded: bool = False
    number: int = 0
    life: int = 0  # counts restarts, so that a run of an earlier life ends silently
    busy: float = 0.0
    first: float = 0.0
    last: float = 0.0
    note: Callable[[str, str], None] = _no_note
    _messages: "asyncio.Queue[tuple[str | None, str | bytes]]" = field(
        default_factory=asyncio.Queue
    )
    _work: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pending(self) -> list[str]:
        """Ids that wait, in the order they will run."""
        return [entry.id for entry in sorted(self.queue, key=lambda entry: entry.number)]

    @property
    def running(self) -> list[str]:
        """The id that runs, if any."""
        current = self.current
        return [current.id] if current else []

    def forget(self) -> None:
        """Lose what a restart loses: queue, history, numbers, cached results; files stay."""
        self.life += 1
        self.queue.clear()
        self.current = None
        self.history.clear()
        self.cache.clear()
        self.number, self.loaded, self.interrupted = 0, False, False

    def half_open(self) -> None:
        """Let every open socket swallow what comes and say nothing, without an end to see."""
        for socket in self.opened:
            socket.half_open = True

    def deafen(self) -> None:
        """Drop the registrations: sockets stay open and answer pings, but hear nothing (0.2)."""
        self.sockets.clear()

    # Queue

    def put(self, entry: Entry) -> bool:
        """Queue a graph; ``False`` when the heap would have raised after taking it (0.6)."""
        clash = any((e.number, e.id) == (entry.number, entry.id) for e in self.queue)
        self.graphs[entry.id] = entry.graph
        self.queue.append(entry)
        self._work.set()
        self.tell_status()
        return not clash

    async def next(self) -> Entry:
        """Wait for a job and take it."""
        while self.paused or not self.queue:
            self._work.clear()
            if self.paused or not self.queue:
                await _first_of(self._work, IDLE)
        entry = min(self.queue, key=lambda entry: entry.number)
        self.queue.remove(entry)
        self.current, self.interrupted = entry, False
        self.tell_status()
        return entry

    def delete(self, job: str) -> None:
        """Take one waiting entry of that id out."""
        for entry in self.queue:
            if entry.id == job:
                self.queue.remove(entry)
                self.tell_status()
                return

    def interrupt(self, job: str | None) -> None:
        """Raise the flag that the running job sees at its next step."""
        self.interrupts.append(job)
        if job is None or job in self.running:
            self.interrupted = True

    def matches(self, entry: Entry) -> bool:
        """Tell whether faults of rendering are meant for this job."""
        return self.faults.matching in json.dumps(entry.graph, ensure_ascii=False)

    # Telling

    def tell_status(self) -> None:
        """Broadcast the length of the queue."""
        left = len(self.queue) + (self.current is not None)
        self.tell(None, "status", {"status": {"exec_info": {"queue_remaining": left}}})

    def tell(self, client: str | None, kind: str, data: dict[str, Any]) -> None:
        """Put a message on its way to one client, or to all when ``client`` is ``None``."""
        if client is None and kind not in BROADCAST:
            return
        frame = json.dumps({"type": kind, "data": data})
        self._messages.put_nowait((client, frame))
        if self.faults.duplicates:
            self._messages.put_nowait((client, frame))
        if self.faults.strangers:
            other = {**data, "prompt_id": "somebody-elses"}
            self._messages.put_nowait((None, json.dumps({"type": kind, "data": other})))

    def tell_raw(self, client: str | None, frame: bytes) -> None:
        """Put a binary frame on its way."""
        self._messages.put_nowait((client, frame))

    async def publish(self) -> None:
        """Send messages one after the other: a client that does not read stops them all (0.4)."""
        while True:
            client, frame = await self._messages.get()
            while self.faults.stalled:
                await asyncio.sleep(IDLE)
            sockets = self.sockets
            wanted = list(sockets.values()) if client is None else [sockets.get(client)]
            for socket in wanted:
                if socket is not None and not self.faults.deaf:
                    await self._send(socket, frame)

    async def _send(self, socket: Socket, frame: str | bytes) -> None:
        try:
            await socket.send(frame, broken=take(self.faults, "reset_in_frame"))
        except (ConnectionError, RuntimeError):
            return  # its reader sees the end and cleans up

    def note_busy(self, since: float) -> None:
        """Count a stretch of execution that ends now."""
        now = time.monotonic()
        self.busy += now - since
        self.first, self.last = self.first or since, now


async def _first_of(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
