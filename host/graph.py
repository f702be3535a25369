"""A workflow graph in API format: its links, its order, its cache keys. Pure.

A graph maps node ids to ``{"class_type": ..., "inputs": {...}}``; an input is a value or a link
``[node id, output slot]``. Only declared inputs count: whatever else a client sends is carried
along (history, picture metadata) and otherwise ignored.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from host.node_types import NodeTable

Graph = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Link:
    """The output slot of another node."""

    node: str
    slot: int


class CycleError(Exception):
    """Nodes depend on each other in a circle; ``nodes`` names them in order."""

    def __init__(self, nodes: list[str]) -> None:
        super().__init__(" -> ".join(nodes))
        self.nodes = nodes


def link(value: object) -> Link | None:
    """Return the link that an input value is, or None if it is a plain value."""
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int) and not isinstance(slot, bool):
            return Link(node, slot)
    return None


def links(graph: Graph, node: str, table: NodeTable) -> dict[str, Link]:
    """Return the links of a node's declared inputs, by input name.

    Links that lead nowhere or carry the wrong type are left out; :mod:`host.validation` reports
    them.
    """
    found: dict[str, Link] = {}
    inputs = graph[node].get("inputs")
    if not isinstance(inputs, Mapping):
        return found
    for declared in table[graph[node]["class_type"]].inputs:
        target = link(inputs.get(declared.name))
        if target is not None and _carries(graph, target, declared.type, table):
            found[declared.name] = target
    return found


def _carries(graph: Graph, target: Link, wanted: str, table: NodeTable) -> bool:
    if target.node not in graph:
        return False
    outputs = table[graph[target.node]["class_type"]].outputs
    return 0 <= target.slot < len(outputs) and type_fits(outputs[target.slot], wanted)


def type_fits(received: str, wanted: str) -> bool:
    """Return whether an output of type ``received`` may go into an input of type ``wanted``."""
    return received == wanted or "*" in (received, wanted)


def order(graph: Graph, roots: Iterable[str], table: NodeTable) -> list[str]:
    """Return the nodes that ``roots`` need, each after what it depends on.

    Depth first in the order of the declared inputs, without recursion: a chain may be longer than
    Python's stack.

    Raises:
        CycleError: nodes depend on each other in a circle.
    """
    done: dict[str, None] = {}
    for root in roots:
        _visit(graph, root, table, done)
    return list(done)


def _visit(graph: Graph, root: str, table: NodeTable, done: dict[str, None]) -> None:
    path: dict[str, list[str]] = {}  # nodes being visited -> children still to visit
    stack = [root]
    while stack:
        node = stack[-1]
        if node not in done and node not in path:
            children = [target.node for target in links(graph, node, table).values()]
            path[node] = children[::-1]
        if node not in done and path[node]:
            child = path[node].pop()
            if child in path:
                raise CycleError([*_tail(list(path), child), child])
            stack.append(child)
            continue
        path.pop(node, None)
        done[node] = None
        stack.pop()


def _tail(path: list[str], node: str) -> list[str]:
    return path[path.index(node) :]


def cache_keys(
    graph: Graph, ordered: Iterable[str], table: NodeTable, fingerprints: Mapping[str, str]
) -> dict[str, str]:
    """Return a key per node that is equal exactly when the node's result must be equal.

    The key covers the class, the declared inputs, the fingerprint (files outside the graph), and
    through links the same of everything upstream. Node ids are not part of it, so the same work
    under another id is found again.

    Args:
        graph: the validated graph.
        ordered: node ids, each after its dependencies (see :func:`order`).
        table: the node table.
        fingerprints: text per node id that changes when something outside the graph does.
    """
    keys: dict[str, str] = {}
    for node in ordered:
        keys[node] = _key(graph, node, table, fingerprints.get(node, ""), keys)
    return keys


def _key(
    graph: Graph, node: str, table: NodeTable, fingerprint: str, keys: Mapping[str, str]
) -> str:
    spec = graph[node]
    upstream = links(graph, node, table)
    inputs: list[Any] = []
    for declared in table[spec["class_type"]].inputs:
        if declared.name in upstream:
            target = upstream[declared.name]
            inputs.append([declared.name, "link", keys[target.node], target.slot])
        elif declared.name in spec["inputs"]:
            inputs.append([declared.name, "value", spec["inputs"][declared.name]])
    text = json.dumps([spec["class_type"], fingerprint, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
