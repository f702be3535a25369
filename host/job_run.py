"""Runs one job: node after node, each from the cache if it can be, and says so on the way.

Follows ComfyUI's order of messages. One difference on purpose: the history is written before
``execution_success`` is sent, so a client that asks for it then finds it. Does not know what a
node does, nor who listens.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from host import messages
from host.errors import InterruptedRunError, RenderError
from host.folders import Folders
from host.graph import cache_keys, links, order
from host.interrupt import Interrupt
from host.job_ending import Ending
from host.job_queue import Job
from host.messages import Event, Message, Preview, ProgressBoard, Step
from host.node_types import Picture, Result
from host.surroundings import Memory, Send, Surroundings
from models.errors import ModelError

logger = logging.getLogger(__name__)

EXPECTED_ERRORS = (RenderError, ModelError)
"""Failures whose sentence says everything; any other exception is also logged with a traceback."""

_OUT_OF_MEMORY = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: choose a smaller size, or a file type with fewer bits."
)


@dataclass(slots=True)
class JobRun:
    """One job on its way; also the Context that its nodes see."""

    job: Job
    around: Surroundings
    interrupt: Interrupt
    send: Send
    memory: Memory
    executed: list[str] = field(default_factory=list)
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    messages: list[list[Any]] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    node: str = ""
    board: ProgressBoard = field(init=False)

    def __post_init__(self) -> None:
        self.board = ProgressBoard(self.job.prompt_id)

    def run(self) -> Ending:
        """Run the job to its end, whatever that is."""
        self._note("execution_start", {})
        ending: Event | None = None
        try:
            ordered = order(self.job.graph, self.job.outputs, self.around.table)
            self._find_cached(ordered)
            for node in self._needed(ordered):
                self._one(node)
        except InterruptedRunError:
            ending = self._interrupted()
        except Exception as error:  # noqa: BLE001 - the job boundary: no node may stop the host
            ending = self._failed(error)
        event = ending or self._stamped("execution_success", {})
        self.messages.append([event.name, event.data])
        return Ending(event, self.messages, self.outputs)

    # --- finding what need not run ---

    def _find_cached(self, ordered: list[str]) -> None:
        fingerprints = {node: self._fingerprint(node) for node in ordered}
        self.keys = cache_keys(self.job.graph, ordered, self.around.table, fingerprints)
        cache = self.memory.cache
        cache.retain(self.keys.values())
        found = {node: cache.get(key) for node, key in self.keys.items()}
        self.results = {node: result for node, result in found.items() if result is not None}
        cached = [node for node in self.job.graph if node in self.results]
        self._note("execution_cached", {"nodes": cached})

    def _fingerprint(self, node: str) -> str:
        spec = self.job.graph[node]
        kind = self.around.table[spec["class_type"]]
        if kind.always_runs:
            return f"{self.job.prompt_id} {node} {self.around.clock()}"
        if kind.fingerprint is None:
            return ""
        return kind.fingerprint(self.around.folders, spec["inputs"])

    def _needed(self, ordered: list[str]) -> list[str]:
        """Return the nodes to visit: outputs, and what uncached nodes read."""
        needed = set(self.job.outputs)
        for node in reversed(ordered):
            if node in needed and node not in self.results:
                upstream = links(self.job.graph, node, self.around.table).values()
                needed.update(target.node for target in upstream)
        outputs = set(self.job.outputs)
        return [node for node in ordered if node in needed and self._is_work(node, outputs)]

    def _is_work(self, node: str, outputs: set[str]) -> bool:
        return node in outputs or node not in self.results

    # --- running ---

    def _one(self, node: str) -> None:
        self.node = node
        if node in self.results:
            self._show(node, self.results[node])
            self._tell_all(self.board.finish(node))
            return
        self.memory.current_node = node
        self._tell_all(self.board.start(node))
        self._tell(messages.executing(node, self.job.prompt_id))
        self.interrupt.check()  # here, as in ComfyUI: the node is announced and does not run
        result = self.around.table[self._class(node)].run(self, **self._inputs(node))
        self.results[node] = result
        self.memory.cache.put(self.keys[node], result)
        self.executed.append(node)
        self._show(node, result)
        self._tell_all(self.board.finish(node))

    def _inputs(self, node: str) -> dict[str, Any]:
        given = self.job.graph[node]["inputs"]
        upstream = links(self.job.graph, node, self.around.table)
        values: dict[str, Any] = {}
        for declared in self.around.table[self._class(node)].inputs:
            name = declared.name
            if name in upstream:
                target = upstream[name]
                values[name] = self.results[target.node].outputs[target.slot]
            elif name in given and declared.takes_values:
                values[name] = given[name]
            elif name in given:
                # ComfyUI's validation lets this pass, so ours does; here it ends either way.
                raise RenderError(
                    f"input {name} of {self._class(node)} holds a plain value",
                    fix=f"Link it to a node with an output of type {declared.type}",
                )
        return values

    def _class(self, node: str) -> str:
        return str(self.job.graph[node]["class_type"])

    def _show(self, node: str, result: Result) -> None:
        if result.ui is not None:
            self.outputs[node] = result.ui
            self._tell(messages.executed(node, result.ui, self.job.prompt_id))

    # --- how it ends ---

    def _interrupted(self) -> Event:
        logger.info("job %s interrupted in node %s", self.job.prompt_id, self.node)
        return self._stamped("execution_interrupted", self._place())

    def _failed(self, error: Exception) -> Event:
        expected = isinstance(error, EXPECTED_ERRORS)
        log = logger.error if expected else logger.exception
        log("job %s failed in node %s: %s", self.job.prompt_id, self.node, error)
        if _is_out_of_memory(error):
            self.memory.cache.clear()
        failure = {
            "exception_message": _explain(error),
            "exception_type": _type_name(error),
            "traceback": [],
            "current_inputs": self._shown_inputs(),
            "current_outputs": list(self.executed),
        }
        return self._stamped("execution_error", {**self._place(), **failure})

    def _place(self) -> dict[str, Any]:
        kind = self._class(self.node) if self.node else None
        return {"node_id": self.node, "node_type": kind, "executed": list(self.executed)}

    def _shown_inputs(self) -> dict[str, list[Any]]:
        given = self.job.graph[self.node]["inputs"] if self.node else {}
        return {name: [value] for name, value in given.items() if not isinstance(value, list)}

    # --- telling ---

    def _stamped(self, name: str, data: Mapping[str, Any]) -> Event:
        stamp = int(self.around.clock() * 1000)
        return Event(name, {"prompt_id": self.job.prompt_id, **data, "timestamp": stamp})

    def _note(self, name: str, data: Mapping[str, Any]) -> None:
        event = self._stamped(name, data)
        self.messages.append([event.name, event.data])
        self._tell(event)

    def _tell(self, message: Message) -> None:
        """Send what a job without a client_id does not say at all."""
        if self.job.client_id is not None:
            self.send(message, self.job.client_id)

    def _tell_all(self, message: Message) -> None:
        """Send what a job without a client_id says to everybody."""
        self.send(message, self.job.client_id)

    # --- what a node sees (host.node_types.Context) ---

    @property
    def folders(self) -> Folders:
        """The host's folders."""
        return self.around.folders

    @property
    def graph(self) -> Mapping[str, Any]:
        """The whole graph."""
        return self.job.graph

    @property
    def extra_pnginfo(self) -> Mapping[str, Any]:
        """What the client wants in text chunks of the picture."""
        info = self.job.extra_data.get("extra_pnginfo")
        return info if isinstance(info, Mapping) else {}

    @property
    def engine(self) -> Any:
        """The engine; waits until torch is loaded."""
        return self.around.engine()

    @property
    def previews(self) -> bool:
        """Whether samplers make previews."""
        return self.around.previews

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.around.clock()

    def random_name(self) -> str:
        """Five random letters."""
        return self.around.random_name()

    def progress(self, value: int, total: int, preview: Picture | None = None) -> None:
        """Report a step of the node that runs; stop here if the client asked for it."""
        self.interrupt.check()
        state = self.board.update(self.node, value, total)
        data = {"value": value, "max": total, "prompt_id": self.job.prompt_id, "node": self.node}
        image = None
        if preview is not None:
            image = Preview(preview.image, preview.format, self.node, self.job.prompt_id)
        self._tell_all(Step(state, Event("progress", data), image))


def _type_name(error: Exception) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _is_out_of_memory(error: Exception) -> bool:
    # By name: this file must not import torch.
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)


def _explain(error: Exception) -> str:
    text = f"{error}\n"
    return text + _OUT_OF_MEMORY if _is_out_of_memory(error) else text
