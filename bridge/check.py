"""Would this host take this graph? Asked before a job is submitted. Pure: values in, values out.

Follows ComfyUI's own validation (``execution.py``, ``validate_inputs``, 0.3.64) so that nothing is
refused here that the host would run: only what an output needs is looked at, undeclared inputs do
not count, plain values are converted (``"64"`` is an INT), ``{"__value__": ...}`` is unwrapped,
and a plain value where a link belongs passes. Where the host knows more than it tells, it has the
last word:

* nodes of extensions may check their inputs themselves (``VALIDATE_INPUTS``), so their lists,
  limits and link types are not held against a graph; those of ComfyUI-GGUF do not, and are;
* ``LoadImage`` and its like take any file that is there, listed or not;
* lists of the newer form bind only newer hosts, so only model files are looked up in them.

What this file refuses to know: requests, slots and HTTP.
"""

from collections.abc import Iterator
from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from typing import Any

from bridge.catalogue import COMBO, Catalogue, NodeInput, NodeOffer, OutputType
from bridge.graph import Workflow
from bridge.graph_problem import GGUF_NODES, At, Kind, Problem, is_file

__all__ = ["Kind", "Problem", "check", "respelled"]

# Inputs of ComfyUI's own nodes that it checks by other means than the list, beside uploads.
_CHECKED_OTHERWISE = frozenset(
    {("LoadLatent", "latent"), ("LoadAudio", "audio"), ("LoadImageSetNode", "resize_method")}
)
_OWN_MODULES = ("nodes", "comfy_extras.")


def check(graph: Workflow, catalogue: Catalogue) -> tuple[Problem, ...]:
    """Return what the host would refuse about a graph, empty if it would run it whole.

    A graph of which only some outputs are good is one with problems: ComfyUI would run half of it.

    Args:
        graph: an API-format graph; anything else that JSON can hold is a problem, not an error.
        catalogue: what the host offers.
    """
    if not isinstance(graph, dict):
        fix = "use Workflow > Export (API) in ComfyUI"
        return (Problem("", "", "", Kind.OUTPUT, "this is no graph of nodes", fix),)
    problems = list(_unknown_types(graph, catalogue))
    outputs = [node for node in graph if catalogue.is_output(_class(graph, node))]
    if not outputs and not problems:
        fix = "add a Save Image node"
        return (Problem("", "", "", Kind.OUTPUT, "the workflow has no output", fix),)
    return (*problems, *_Check(graph, catalogue).run(outputs))


def respelled(graph: Workflow, catalogue: Catalogue) -> Workflow:
    """Return the graph with files and choices in the host's own spelling (Windows backslashes)."""
    spelled = Workflow(deepcopy(graph))
    for node in spelled:
        values = _inputs(spelled, node) or {}
        for declared in catalogue.inputs(_class(spelled, node)):
            value = values.get(declared.name)
            if declared.choices is not None and isinstance(value, str):
                own = catalogue.spelled(_class(spelled, node), declared.name, value)
                values[declared.name] = value if own is None else own
    return spelled


def _class(graph: Workflow, node: str) -> str:
    entry = graph[node]
    name = entry.get("class_type") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else ""


def _inputs(graph: Workflow, node: str) -> dict[str, Any] | None:
    entry = graph[node]
    values = entry.get("inputs") if isinstance(entry, dict) else None
    return values if isinstance(values, dict) else None


def _unknown_types(graph: Workflow, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield the nodes that no host could look up; every node counts, linked or not."""
    for node in graph:
        name = _class(graph, node)
        if not name:
            what = "this is no node, it has no class_type"
            yield At(node, "").problem(Kind.NODE, what, "export it again from ComfyUI")
        elif name not in catalogue:
            yield At(node, name).unknown_type(catalogue.class_types)


class _Check:
    """Goes through what the outputs need, each node once."""

    def __init__(self, graph: Workflow, catalogue: Catalogue) -> None:
        self._graph = graph
        self._catalogue = catalogue

    def run(self, outputs: list[str]) -> Iterator[Problem]:
        needed = dict.fromkeys(outputs)
        waiting = list(needed)
        links: dict[str, set[str]] = {}
        for node in waiting:  # grows while it is read
            links[node] = set(self._sources(node))
            fresh = [source for source in sorted(links[node]) if source not in needed]
            needed |= dict.fromkeys(fresh)
            waiting += fresh
            yield from self._node(node)
        yield from self._circle(links)

    def _sources(self, node: str) -> Iterator[str]:
        values = _inputs(self._graph, node) or {}
        for declared in self._catalogue.inputs(_class(self._graph, node)):
            value = values.get(declared.name)
            if isinstance(value, list) and len(value) == 2 and self._is_known(value[0]):
                yield value[0]

    def _is_known(self, node: Any) -> bool:
        known = isinstance(node, str) and node in self._graph
        return known and _class(self._graph, node) in self._catalogue

    def _circle(self, links: dict[str, set[str]]) -> Iterator[Problem]:
        try:
            TopologicalSorter(links).prepare()
        except CycleError as found:
            node = found.args[1][0]
            at = At(node, _class(self._graph, node))
            what = "it waits, through its links, for its own result"
            yield at.problem(Kind.LINK, what, "break the circle in ComfyUI and export again")

    def _node(self, node: str) -> Iterator[Problem]:
        name = _class(self._graph, node)
        offer, values = self._catalogue.node(name), _inputs(self._graph, node)
        if offer is None:
            return
        if values is None:
            what = "it has no inputs"
            yield At(node, name).problem(Kind.VALUE, what, "export it again from ComfyUI")
            return
        for declared in offer.inputs:
            at = At(node, name, declared.name)
            if declared.name not in values:
                if declared.required:
                    yield at.missing(declared)
            elif isinstance(values[declared.name], list):
                yield from self._link(at, offer, declared, values[declared.name])
            else:
                yield from _value(at, offer, declared, values[declared.name])

    def _link(
        self, at: At, offer: NodeOffer, declared: NodeInput, value: list[Any]
    ) -> Iterator[Problem]:
        if len(value) != 2:
            yield at.broken_link(value, "and a link is [node, output]")
            return
        source, slot = value
        if not isinstance(source, str) or source not in self._graph:
            yield at.broken_link(value, "and there is no such node (ids are text)")
            return
        above = self._catalogue.node(_class(self._graph, source))
        if above is None:
            return  # told already: its type is unknown
        if not isinstance(slot, int) or not -len(above.outputs) <= slot < len(above.outputs):
            yield at.broken_link(value, f"and that node has {len(above.outputs)} outputs")
            return
        received = above.outputs[slot]
        if _is_plain(offer) and _is_plain(above) and not _fits(received, declared):
            yield at.wrong_type(str(received), declared, source)


def _is_plain(offer: NodeOffer) -> bool:
    """Return whether a node surely leaves the checking to ComfyUI."""
    own = offer.module in ("", "nodes") or offer.module.startswith(_OWN_MODULES[1])
    return own or offer.class_type in GGUF_NODES


def _fits(received: OutputType, declared: NodeInput) -> bool:
    """Return whether an output may be linked to an input; types are sets, "*" is all."""
    if isinstance(received, tuple):
        return received == declared.choices or declared.type in (COMBO, "*")
    ours = {kind.strip() for kind in received.split(",")}
    theirs = {kind.strip() for kind in declared.type.split(",")}
    return bool(ours & theirs) or "*" in ours | theirs


def _value(at: At, offer: NodeOffer, declared: NodeInput, value: Any) -> Iterator[Problem]:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    try:
        value = _converted(value, declared.type)
    except (ValueError, TypeError, OverflowError):
        yield at.not_convertible(value, declared)
        return
    if not _is_plain(offer):
        return
    limit = _limit(value, declared)
    if limit:
        yield at.out_of_range(value, limit)
    elif _is_bound(at, declared, value) and value not in (declared.choices or ()):
        yield at.not_listed(value, declared.choices or ())


def _converted(value: Any, kind: str) -> Any:
    match kind:
        case "INT":
            return int(value)
        case "FLOAT":
            return float(value)
        case "STRING":
            return str(value)
        case "BOOLEAN":
            return bool(value)
        case _:
            return value


def _limit(value: Any, declared: NodeInput) -> str:
    """Return what the host would take instead of a value beyond its limits, else nothing."""
    low, high = declared.minimum, declared.maximum
    try:
        if low is not None and value < low:
            return f"{low} or more"
        if high is not None and value > high:
            return f"{high} or less"
    except TypeError:
        return f"a number from {low} to {high}"
    return ""


def _is_bound(at: At, declared: NodeInput, value: Any) -> bool:
    """Return whether a combo's list is the whole truth for this value."""
    if declared.choices is None or declared.uploads:
        return False
    if (at.class_type, at.input) in _CHECKED_OTHERWISE:
        return False
    return declared.listed or is_file(value)
