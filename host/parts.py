"""What a running host consists of, as the routes see it."""

from collections.abc import Callable
from dataclasses import dataclass

from host.folders import Folders
from host.hub import Hub
from host.interrupt import Interrupt
from host.job_queue import JobQueue
from host.node_types import NodeTable
from host.system_stats import DeviceFacts


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes act on; ``clock`` gives seconds since the epoch."""

    queue: JobQueue
    hub: Hub
    interrupt: Interrupt
    folders: Folders
    table: NodeTable
    devices: Callable[[], list[DeviceFacts]]
    current_node: Callable[[], str | None]
    clock: Callable[[], float]
