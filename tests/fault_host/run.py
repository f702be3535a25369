"""One graph executed: ComfyUI's messages in ComfyUI's order, results cached node by node.

The order of a whole run, as recorded (tests/data/transcripts) and replayed by
tests/test_fault_host.py::

    status status execution_start execution_cached
        ( progress_state executing (progress_state [preview] progress)* executed? progress_state )*
    execution_success                      history may come later: that is the trap
    status executing{node: null}
"""

import asyncio
import json
import struct
import time
from typing import Any

from tests.fault_host import graph as graphs
from tests.fault_host.faults import BOOM, OUT_OF_MEMORY, NodeError
from tests.fault_host.host import IDLE, Entry, FakeHost
from tests.fault_host.pictures import picture


class _Interrupted(Exception):  # noqa: N818 - names what happened to the run
    pass


class _Raised(Exception):  # noqa: N818 - likewise
    def __init__(self, error: NodeError) -> None:
        super().__init__(error)
        self.error = error


class _Forgotten(Exception):  # noqa: N818 - likewise
    """The host was restarted under the run."""


async def work(host: FakeHost) -> None:
    """Execute what is queued, one after the other, for ever."""
    while True:
        entry = await host.next()
        since = time.monotonic()
        try:
            await Run(host, entry).run()
        except _Forgotten:
            continue
        finally:
            host.note_busy(since)


class Run:
    """One job in execution."""

    def __init__(self, host: FakeHost, entry: Entry) -> None:
        self._host, self._entry, self._graph = host, entry, entry.graph
        self._life = host.life
        self._nodes: dict[str, Any] = {}  # what progress_state shows
        self._done: list[str] = []
        self._outputs: dict[str, Any] = {}
        self._messages: list[Any] = []

    async def run(self) -> None:
        """Execute, write history, and say that it is there."""
        self._note("execution_start", {})
        chain = graphs.order(self._graph, self._entry.ends)
        kept = [node for node in chain if graphs.key(self._graph, node) in self._host.cache]
        self._note("execution_cached", {"nodes": kept})
        for node in self._entry.ends:
            if node in kept:
                self._report_cached(node)
        verdict = await self._through([node for node in chain if node not in kept])
        self._alive()
        self._host.rendered.append(self._entry.id)
        await asyncio.sleep(self._host.faults.history_late)
        self._alive()
        self._host.history[self._entry.id] = self._history(verdict)
        self._host.note("end", self._entry.id)
        self._host.current = None
        self._host.tell_status()
        self._tell("executing", {"node": None})

    async def _through(self, chain: list[str]) -> str:
        node = ""
        try:
            for node in chain:
                await self._execute(node)
        except _Interrupted:
            self._note("execution_interrupted", self._place(node), broadcast=True)
            return "error"
        except _Raised as raised:
            self._note("execution_error", {**self._place(node), **_words(raised.error)})
            return "error"
        self._note("execution_success", {})
        return "success"

    async def _execute(self, node: str) -> None:
        self._progress_state(node, 0.0, 1.0, "running")
        self._tell("executing", {"node": node, "display_node": node})
        if self._host.interrupted:
            raise _Interrupted
        name = self._graph[node]["class_type"]
        if name in graphs.STEPPING:
            await self._steps(node)
        self._maybe_raise(name)
        images = self._save(node) if node in self._entry.ends else None
        self._host.cache[graphs.key(self._graph, node)] = images
        if images:
            self._report(node, images)
        self._done.append(node)
        self._progress_state(node, 1.0, 1.0, "finished")
        await asyncio.sleep(0)  # ComfyUI's server runs beside its worker

    def _maybe_raise(self, name: str) -> None:
        faults = self._host.faults
        meant = name in graphs.RAISING and self._host.matches(self._entry)
        if meant and faults.out_of_memory:
            raise _Raised(OUT_OF_MEMORY)
        if name == "LabFail" or (meant and faults.fail_nodes):
            raise _Raised(BOOM)

    async def _steps(self, node: str) -> None:
        if not self._host.loaded:
            await asyncio.sleep(self._host.faults.load_time)
            self._host.loaded = True
        for step in range(1, self._host.steps + 1):
            await self._pause(self._host.step_time)
            self._progress_state(node, step, self._host.steps, "running")
            preview = self._preview(node)
            if preview and self._wants_metadata():
                self._host.tell_raw(self._entry.client, preview)
            self._tell("progress", {"value": step, "max": self._host.steps}, {"node": node})
            if preview and not self._wants_metadata():
                self._host.tell_raw(self._entry.client, preview)

    async def _pause(self, seconds: float) -> None:
        """Take a step's time, or hang; see an interrupt at the end of it."""
        await asyncio.sleep(seconds)
        faults = self._host.faults
        while faults.hang and self._host.matches(self._entry):
            self._alive()
            if self._host.interrupted and not faults.numb:
                break
            await asyncio.sleep(IDLE)
        self._alive()
        if self._host.interrupted:
            raise _Interrupted

    def _alive(self) -> None:
        if self._host.life != self._life:
            raise _Forgotten

    # Pictures

    def _save(self, node: str) -> dict[str, Any]:
        entry = self._graph[node]
        if entry["class_type"] in graphs.WITHOUT_FILES:
            return {"images": [{"filename": "t_00001_.png", "subfolder": "", "type": "temp"}]}
        folder, _, name = str(entry["inputs"]["filename_prefix"]).rpartition("/")
        first = self._next_counter(folder, name)
        count = graphs.batch_of(self._graph, node)
        return {"images": [self._save_one(node, folder, name, first + n, n) for n in range(count)]}

    def _next_counter(self, folder: str, name: str) -> int:
        number = 1
        while (folder, f"{name}_{number:05}_.png") in self._host.files:
            number += 1
        return number

    def _save_one(
        self, node: str, folder: str, name: str, counter: int, number: int
    ) -> dict[str, str]:
        prompt, seed = graphs.prompt_of(self._graph, node), graphs.seed_of(self._graph, node)
        filename = f"{name}_{counter:05}_.png"
        if not self._host.faults.no_files:
            content = picture(prompt, seed, number, json.dumps(self._graph))
            self._host.files[(folder, filename)] = content
            self._host.saved.append(self._entry.id)
            self._host.note("save", self._entry.id)
        shown = folder.replace("/", "\\") if self._host.catalogue.windows else folder
        return {"filename": filename, "subfolder": shown, "type": "output"}

    def _preview(self, node: str) -> bytes:
        if not self._host.preview:
            return b""
        image = b"\xff\xd8" + b"\0" * self._host.preview
        if not self._wants_metadata():
            return struct.pack(">II", 1, 1) + image
        about = {"node_id": node, "prompt_id": self._entry.id, "image_type": "image/jpeg"}
        words = json.dumps(about).encode()
        return struct.pack(">II", 4, len(words)) + words + image

    def _wants_metadata(self) -> bool:
        socket = self._host.sockets.get(self._entry.client or "")
        return socket is not None and socket.flags

    # Telling

    def _report(self, node: str, output: dict[str, Any]) -> None:
        self._outputs[node] = output
        self._tell("executed", {"node": node, "display_node": node, "output": output})

    def _report_cached(self, node: str) -> None:
        """Name the old file again; no new one is written (0.5)."""
        self._report(node, self._host.cache[graphs.key(self._graph, node)])
        self._progress_state(node, 1, 1, "finished")

    def _progress_state(self, node: str, value: float, maximum: float, state: str) -> None:
        self._nodes[node] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node,
            "prompt_id": self._entry.id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }
        data = {"prompt_id": self._entry.id, "nodes": self._nodes}
        self._host.tell(self._entry.client, "progress_state", data)

    def _tell(self, kind: str, data: dict[str, Any], behind: dict[str, Any] | None = None) -> None:
        full = {**data, "prompt_id": self._entry.id, **(behind or {})}
        self._host.tell(self._entry.client, kind, full)

    def _note(self, kind: str, data: dict[str, Any], broadcast: bool = False) -> None:
        """Send a message that history keeps."""
        told = {"prompt_id": self._entry.id, **data, "timestamp": int(time.time() * 1000)}
        self._messages.append([kind, told])
        self._host.tell(None if broadcast else self._entry.client, kind, told)

    def _place(self, node: str) -> dict[str, Any]:
        return {
            "node_id": node,
            "node_type": self._graph[node]["class_type"],
            "executed": list(self._done),
        }

    def _history(self, verdict: str) -> dict[str, Any]:
        return {
            "prompt": self._entry.shown(),
            "outputs": self._outputs,
            "status": {
                "status_str": verdict,
                "completed": verdict == "success",
                "messages": self._messages,
            },
            "meta": {},
        }


def _words(error: NodeError) -> dict[str, Any]:
    return {
        "exception_message": error.message,
        "exception_type": error.exception_type,
        "traceback": [],
        "current_inputs": {},
        "current_outputs": [],
    }
