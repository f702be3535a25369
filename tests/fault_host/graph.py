"""API-format graphs as ComfyUI's executor sees them: outputs, order, cache keys. Pure.

Written apart from :mod:`bridge.workflow`, so that what the fault host draws is an independent
reading of the graph the director posted.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

Graph: TypeAlias = dict[str, Any]
WITHOUT_FILES = ("PreviewImage", "SaveImageWebsocket")
STEPPING = ("KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced", "LabSlow")
RAISING = ("KSampler", "LabFail")


def outputs(graph: Graph) -> list[str]:
    """Return the ids of the output nodes, in the graph's order."""
    return [
        node
        for node, entry in graph.items()
        if entry.get("class_type") in ("SaveImage", *WITHOUT_FILES)
        or "filename_prefix" in entry.get("inputs", {})
    ]


def links(graph: Graph, node: str) -> Iterator[tuple[str, str]]:
    """Yield input name and the node it links to."""
    for name, value in graph[node].get("inputs", {}).items():
        if isinstance(value, list) and len(value) == 2 and value[0] in graph:
            yield name, value[0]


def order(graph: Graph, ends: list[str]) -> list[str]:
    """Return what has to run for these outputs, each node after those it links to."""
    ordered: list[str] = []

    def visit(node: str) -> None:
        if node not in ordered:
            for _, above in links(graph, node):
                visit(above)
            ordered.append(node)

    for end in ends:
        visit(end)
    return ordered


def key(graph: Graph, node: str) -> str:
    """Return what a cached result of this node hangs on: its inputs and all above them."""
    above = dict(links(graph, node))
    inputs = {
        name: key(graph, above[name]) if name in above else value
        for name, value in graph[node]["inputs"].items()
    }
    return json.dumps([graph[node]["class_type"], inputs], sort_keys=True)


def prompt_of(graph: Graph, output: str) -> str:
    """Return the text that this output's picture shows."""
    sampler = _above_with(graph, output, "positive")
    start = graph[sampler]["inputs"]["positive"][0] if sampler else None
    chain = order(graph, [start]) if start in graph else []
    texts = [graph[node]["inputs"].get("text") for node in reversed(chain)]
    titled = [
        graph[node]["inputs"].get("value")
        for node in graph
        if graph[node].get("_meta", {}).get("title") == "vulcan:prompt"
    ]
    return next((text for text in [*texts, *titled] if isinstance(text, str)), "")


def seed_of(graph: Graph, output: str) -> int:
    """Return the seed of this output's picture, or the colour of an EmptyImage."""
    for name in ("seed", "noise_seed", "color"):
        node = _above_with(graph, output, name)
        if node is not None:
            return int(graph[node]["inputs"][name])
    return 0


def batch_of(graph: Graph, output: str) -> int:
    """Return how many pictures this output gives."""
    node = _above_with(graph, output, "batch_size")
    return int(graph[node]["inputs"]["batch_size"]) if node is not None else 1


def _above_with(graph: Graph, output: str, name: str) -> str | None:
    chain = reversed(order(graph, [output]))
    return next((node for node in chain if name in graph[node]["inputs"]), None)
