"""An API-format graph and the steps along its links. Pure: JSON in, JSON out.

A graph maps node ids to nodes; an input of a node is a plain value or a *link*
``[node id, output slot]``. Here are the moves that everything else is made of: walk upwards,
follow a link to the node that holds the value, put nodes between others. Where an order is
needed it comes from the links and the inputs' names, never from ids or from the order in the
file, so that a renumbered graph is walked alike.

What this file refuses to know: what any class_type means, and what a request is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, NewType, TypeGuard

Workflow = NewType("Workflow", dict[str, Any])

HOPS = 16  # primitives may be linked to primitives, but not for ever
# What nodes that only hold a value call it, besides the name that is looked for.
HOLDERS = ("value", "text", "string", "prompt", "int", "float", "number", "seed")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One input of one node."""

    node: str
    input: str


def is_link(value: Any) -> TypeGuard[list[Any]]:
    """Return whether an input's value is a link; ComfyUI takes only strings as node ids."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def is_node(node: Any) -> bool:
    """Return whether this is a node: an object with class_type and inputs."""
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def copied(graph: Workflow) -> Workflow:
    """Return a graph whose nodes and inputs may be set anew; what they hold is shared.

    Nothing changes a link or a ``_meta`` in place, and a deep copy takes ten times as long.
    """
    return Workflow({key: {**node, "inputs": {**node["inputs"]}} for key, node in graph.items()})


def inputs(graph: Workflow, node: str) -> dict[str, Any]:
    """Return a node's inputs, to read or to change."""
    found: dict[str, Any] = graph[node]["inputs"]
    return found


def linked(graph: Workflow, node: str, name: str) -> str | None:
    """Return the node that an input is linked to."""
    value = inputs(graph, node).get(name)
    return str(value[0]) if is_link(value) and value[0] in graph else None


def sources(graph: Workflow, node: str) -> Iterator[str]:
    """Yield the nodes that a node is linked to, by the names of its inputs."""
    for name in sorted(inputs(graph, node)):
        source = linked(graph, node, name)
        if source is not None:
            yield source


def upwards(graph: Workflow, starts: Iterable[str]) -> list[str]:
    """Return the starting nodes and all above them, nearest first, each once."""
    found = dict.fromkeys(starts)
    waiting = list(found)
    for node in waiting:  # grows while it is read
        for source in sources(graph, node):
            if source not in found:
                found[source] = None
                waiting.append(source)
    return waiting


def behind(graph: Workflow, node: str, *names: str) -> list[str]:
    """Return what stands above the first of these inputs that is a link, nearest first."""
    start = next((found for name in names if (found := linked(graph, node, name))), None)
    return upwards(graph, [start]) if start is not None else []


def broken_links(graph: Workflow, nodes: Iterable[str]) -> list[tuple[Place, str]]:
    """Return the links of some nodes to nodes that are not there, with those nodes' ids."""
    return [
        (Place(node, name), value[0])
        for node in nodes
        for name, value in inputs(graph, node).items()
        if is_link(value) and value[0] not in graph
    ]


def circle(graph: Workflow, nodes: Iterable[str]) -> tuple[str, ...]:
    """Return nodes that wait for each other in a circle, empty where none do.

    Args:
        graph: the workflow.
        nodes: with each of them all that stand above it, as :func:`upwards` returns them.
    """
    try:
        TopologicalSorter({node: list(sources(graph, node)) for node in nodes}).prepare()
    except CycleError as found:
        return tuple(found.args[1][1:])  # its first node is its last one, too
    return ()


def holder(graph: Workflow, place: Place, kind: type | tuple[type, ...]) -> Place | None:
    """Follow an input to where its value is written: itself, or the primitive it is linked to.

    Args:
        graph: the workflow.
        place: an input that is a plain value or a link.
        kind: type, or types, that the value must have.

    Returns:
        ``None`` where a link leads to something that only computes the value.
    """
    for _ in range(HOPS):
        value = inputs(graph, place.node).get(place.input)
        if not is_link(value):
            return place if _is(value, kind) else None
        if value[0] not in graph:
            return None
        above = _held(graph, value[0], place.input, kind)
        if above is None:
            return None
        place = above
    return None


def _held(graph: Workflow, node: str, wanted: str, kind: type | tuple[type, ...]) -> Place | None:
    values = inputs(graph, node)
    for name in (wanted, *HOLDERS):
        if name in values and (_is(values[name], kind) or is_link(values[name])):
            return Place(node, name)
    links = [name for name in sorted(values) if is_link(values[name])]
    # A node of one link and nothing else hands on what it gets; one that joins texts has words
    # of the user's own beside the link.
    hands_on = len(links) == 1 and (len(values) == 1 or kind is str)
    return Place(node, links[0]) if hands_on else None


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def relink(graph: Workflow, old: Sequence[Any], new: Sequence[Any]) -> None:
    """Have every input that is linked to ``old`` linked to ``new`` instead."""
    for node in graph:
        for name, value in inputs(graph, node).items():
            if is_link(value) and value[0] == old[0] and value[1] == old[1]:
                inputs(graph, node)[name] = list(new)


def readers(graph: Workflow, link: Sequence[Any]) -> list[Place]:
    """Return the inputs that are linked to this output."""
    return [
        Place(node, name)
        for node in graph
        for name, value in inputs(graph, node).items()
        if is_link(value) and value[0] == link[0] and value[1] == link[1]
    ]


def free_id(graph: Workflow) -> str:
    """Return an id that no node has: one more than the largest number in use."""
    numbers = [int(node) for node in graph if node.isdecimal() and len(node) < 16]
    return str(max(numbers, default=0) + 1)


def reference(graph: Workflow, text: str) -> Place | None:
    """Read ``node.input``; ids may hold dots and colons, as those of sub-graphs do."""
    for index in (i for i, letter in enumerate(text) if letter == "."):
        node, name = text[:index], text[index + 1 :]
        if is_node(graph.get(node)) and name in inputs(graph, node):
            return Place(node, name)
    return None


def sorted_ids(nodes: Iterable[str]) -> list[str]:
    """Sort ids as a reader would: 2 before 10, numbers before words."""
    return sorted(nodes, key=lambda node: (not node.isdecimal(), len(node), node))
