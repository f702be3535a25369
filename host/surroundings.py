"""What jobs share: the host around them, and what one leaves for the next."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from host.folders import Folders
from host.messages import Message
from host.node_cache import NodeCache
from host.node_types import NodeTable

Send = Callable[[Message, str | None], None]
"""Takes a message and its recipient: a client id, or None for everybody."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every job of this host shares.

    Attributes:
        table: the nodes that exist.
        folders: models, input, output, temp.
        engine: returns the engine, waiting until torch is loaded.
        clock: seconds since the epoch.
        random_name: five random letters.
        previews: whether samplers make previews.
    """

    table: NodeTable
    folders: Folders
    engine: Callable[[], Any]
    clock: Callable[[], float]
    random_name: Callable[[], str]
    previews: bool = True


@dataclass(slots=True)
class Memory:
    """What outlives a job.

    Attributes:
        cache: results that the next graph may use again.
        current_node: what runs now, for clients that come back.
    """

    cache: NodeCache = field(default_factory=NodeCache)
    current_node: str | None = None
