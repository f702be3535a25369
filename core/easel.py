"""An embedded host that draws one request at a time and is timed step by step.

For comparisons: nothing else is in its queue, it makes no previews, and a step is the time between
two reports of the sampler, so that loading, reading the prompt and decoding do not count.
"""

import queue
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridge import workflow
from bridge.answers import Outcome, Verdict
from bridge.client import HostClient
from bridge.errors import HostError
from bridge.listener import Listener, Reconnected
from bridge.protocol import Ended, Progressed
from bridge.request import Request
from bridge.workflow import Workflow
from configs.settings import ROOT
from core.host_process import HostProcess

TEMPLATE = ROOT / "configs" / "workflows" / "txt2img.json"
LOOK = 1.0  # seconds without an event until the host is asked
SOCKET_TIMEOUT = 10.0  # seconds until its socket must be open


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture and how long it took.

    Attributes:
        png: the file.
        steps: seconds of each step but the first, which also warms up.
    """

    png: bytes
    steps: tuple[float, ...]


class Easel:
    """Draws requests on one host. Use :func:`easel`."""

    def __init__(
        self, process: HostProcess, client: HostClient, events: "queue.Queue[Any]", name: str
    ) -> None:
        self._process, self._client, self._events, self._name = process, client, events, name
        self._template: Workflow = workflow.load(TEMPLATE)

    def draw(self, request: Request) -> Drawn:
        """Draw one picture.

        Raises:
            HostError: the host went away, or the job failed; says why.
            WorkflowError: the workflow has no place for what the request asks.
        """
        job = str(uuid.uuid4())
        graph = workflow.build(self._template, request, f"{self._name}/{job}")
        self._client.submit(graph, job, {})
        times, outcome = self._followed(job)
        if outcome.verdict is not Verdict.SUCCESS or not outcome.images:
            why = outcome.why or "it gave no picture"
            raise HostError(self._client.url, f"could not draw with {request.unet}: {why}")
        png = self._client.fetch(outcome.images[0])
        if png is None:
            raise HostError(self._client.url, f"lost the picture of {request.prompt!r}")
        self._process.discard(self._name)
        return Drawn(png, tuple(later - earlier for earlier, later in pairwise(times)))

    def _followed(self, job: str) -> tuple[list[float], Outcome]:
        """Wait for a job's end; returns when each of its steps ended."""
        times: list[float] = []
        while True:
            event = self._next()
            if isinstance(event, Progressed) and event.prompt_id == job:
                if event.value > len(times):  # each step is reported in two ways
                    times.append(time.monotonic())
            elif event is None or (isinstance(event, Ended) and event.prompt_id == job):
                outcome = self._client.outcome(job)
                if outcome is not None:
                    return times, outcome

    def _next(self) -> Any:
        try:
            return self._events.get(timeout=LOOK)
        except queue.Empty:
            return None


@contextmanager
def easel(models: Path, scratch: Path) -> Iterator[Easel]:
    """Start an embedded host, and end it.

    Args:
        models: its models folder.
        scratch: its own folder.

    Raises:
        HostProcessError, HostError: it did not start.
    """
    process = HostProcess(models, scratch, previews=False)
    events: queue.Queue[Any] = queue.Queue()
    name = f"easel-{uuid.uuid4().hex[:8]}"
    try:
        url = process.ensure()
        with closing(Listener(url, name, events)), HostClient(url, name) as client:
            _wait_for_socket(url, events)
            yield Easel(process, client, events, name)
    finally:
        process.stop()


def _wait_for_socket(url: str, events: "queue.Queue[Any]") -> None:
    try:
        while not isinstance(events.get(timeout=SOCKET_TIMEOUT), Reconnected):
            pass
    except queue.Empty as error:
        raise HostError(url, "opened no socket") from error
