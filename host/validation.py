"""Decides whether a submitted graph can run, output by output. Pure but for the combo lists.

Follows ComfyUI: a node is only looked at when an output needs it, plain values are converted to
the declared types, and a graph with one good output is accepted while its bad outputs are reported
and dropped. The words and shapes of the errors are in :mod:`host.problems`. One deliberate
difference: a cycle is named in ``details``, where ComfyUI leaves an empty string.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from host import problems
from host.folders import Folders
from host.graph import CycleError, Graph, link, links, order, type_fits
from host.node_types import Input, NodeTable, NodeType
from host.problems import Problem


@dataclass(frozen=True, slots=True)
class Verdict:
    """What validation found.

    Attributes:
        outputs: ids of the output nodes that can run; empty means that the graph is refused.
        graph: the graph with its plain values converted to the declared types.
        error: the body's ``error``, None if at least one output can run.
        node_errors: the body's ``node_errors``.
    """

    outputs: tuple[str, ...]
    graph: Graph
    error: Problem | None = None
    node_errors: Mapping[str, Any] = field(default_factory=dict)


def validate(
    graph: object, table: NodeTable, folders: Folders, targets: list[str] | None = None
) -> Verdict:
    """Check a graph.

    Args:
        graph: what the client sent as ``prompt``, already parsed from JSON.
        table: the nodes that this host has.
        folders: for the combo lists.
        targets: ids of output nodes to run (``partial_execution_targets``); None means all.
    """
    if not isinstance(graph, dict):
        message = "The prompt must be an object that maps node ids to nodes."
        return Verdict((), {}, problems.problem("invalid_prompt", message))
    error = _first_unknown(graph, table)
    if error is not None:
        return Verdict((), graph, error)
    outputs = [
        node
        for node, spec in graph.items()
        if table[spec["class_type"]].is_output and (targets is None or node in targets)
    ]
    if not outputs:
        return Verdict((), graph, problems.no_outputs())
    return _Validator(graph, table, folders).verdict(outputs)


def _first_unknown(graph: Mapping[str, Any], table: NodeTable) -> Problem | None:
    for node, spec in graph.items():
        if not isinstance(spec, dict) or "class_type" not in spec:
            return problems.missing_class(node)
        name = spec["class_type"]
        if not isinstance(name, str) or name not in table:
            return problems.unknown_class(node, name)
    return None


class _UncheckableError(Exception):
    """A node that ComfyUI's own check ends on with an exception; clients know that shape."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(details)
        self.kind = kind
        self.details = details


@dataclass(slots=True)
class _Finding:
    """What is known of one node.

    Attributes:
        errors: its own errors.
        valid: it and everything that it needs is good.
        uncheckable: set when its check could not be made.
    """

    errors: list[Problem] = field(default_factory=list)
    valid: bool = True
    uncheckable: _UncheckableError | None = None


class _Validator:
    def __init__(self, graph: Graph, table: NodeTable, folders: Folders) -> None:
        self._graph = graph
        self._table = table
        self._folders = folders
        self._findings: dict[str, _Finding] = {}
        self._converted: dict[str, Mapping[str, Any]] = dict(graph)
        self._configs: dict[int, list[Any]] = {}

    def verdict(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        details: list[str] = []
        node_errors: dict[str, Any] = {}
        for output in outputs:
            try:
                needed = order(self._graph, [output], self._table)
            except CycleError as cycle:
                details.append(f"Nodes depend on each other in a circle: {cycle}")
                continue
            if self._check_output(output, needed):
                good.append(output)
            else:
                self._collect(output, needed, node_errors)
                own = self._findings[output].errors
                details += [f"{error['message']}: {error['details']}" for error in own]
        if good:
            return Verdict(tuple(good), self._converted, None, node_errors)
        return Verdict((), self._graph, problems.outputs_failed(details), node_errors)

    def _check_output(self, output: str, needed: list[str]) -> bool:
        for node in needed:
            if node not in self._findings:
                self._findings[node] = self._check(node)
        finding = self._findings[output]
        if finding.uncheckable is not None and not finding.errors:
            cause = finding.uncheckable
            finding.errors.append(problems.raised(cause.kind, cause.details))
        return finding.valid

    def _collect(self, output: str, needed: list[str], node_errors: dict[str, Any]) -> None:
        for node in needed:
            errors = self._findings[node].errors
            if errors:
                name = self._graph[node]["class_type"]
                fresh = {"errors": errors, "dependent_outputs": [], "class_type": name}
                node_errors.setdefault(node, fresh)["dependent_outputs"].append(output)

    def _check(self, node: str) -> _Finding:
        """Check one node whose dependencies were checked before."""
        finding = _Finding()
        spec = self._graph[node]
        try:
            inputs = _inputs(spec)
            kind = self._table[spec["class_type"]]
            for declared in kind.inputs:
                error = self._check_input(declared, inputs, limits=declared.name not in kind.checks)
                finding.errors += [error] if error else []
            finding.errors += self._own_checks(kind, inputs)
        except _UncheckableError as cause:
            return _Finding([], valid=False, uncheckable=cause)
        self._converted[node] = {**spec, "inputs": inputs}
        finding.valid = self._upstream_is_valid(node) and not finding.errors
        return finding

    def _upstream_is_valid(self, node: str) -> bool:
        valid = True
        for name, target in links(self._graph, node, self._table).items():
            upstream = self._findings[target.node]
            valid = valid and upstream.valid
            cause = upstream.uncheckable
            if cause is not None and not upstream.errors:
                declared = self._table[self._graph[node]["class_type"]].input(name)
                config = self._config(declared) if declared else None
                value = [target.node, target.slot]
                upstream.errors.append(
                    problems.raised_inside(name, config, cause.kind, cause.details, value)
                )
        return valid

    def _own_checks(self, kind: NodeType, inputs: Mapping[str, Any]) -> list[Problem]:
        """Ask the node's own checks about the plain values that they are for."""
        asked = {name: inputs[name] for name in kind.checks if name in inputs}
        answers = {
            name: kind.checks[name](self._folders, value)
            for name, value in asked.items()
            if not isinstance(value, list)
        }
        return [problems.custom(name, answer) for name, answer in answers.items() if answer]

    def _check_input(
        self, declared: Input, inputs: dict[str, Any], *, limits: bool
    ) -> Problem | None:
        name = declared.name
        if name not in inputs:
            return problems.missing_input(name) if declared.required else None
        if isinstance(inputs[name], list):
            return self._check_link(declared, inputs[name])
        return self._check_value(declared, inputs, limits=limits)

    def _check_link(self, declared: Input, value: list[Any]) -> Problem | None:
        if len(value) != 2:
            return problems.bad_link(declared.name, self._config(declared), value)
        target = link(value)
        if target is None or target.node not in self._graph:
            raise _UncheckableError("KeyError", repr(value[0]))
        outputs = self._table[self._graph[target.node]["class_type"]].outputs
        if not 0 <= target.slot < len(outputs):
            raise _UncheckableError("IndexError", "tuple index out of range")
        received = outputs[target.slot]
        if type_fits(received, declared.type):
            return None
        return problems.type_mismatch(declared.name, self._config(declared), received, value)

    def _check_value(
        self, declared: Input, inputs: dict[str, Any], *, limits: bool
    ) -> Problem | None:
        name, value = declared.name, inputs[declared.name]
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]  # how a client sends a list that is no link
        try:
            value = _convert(value, declared.type)
        except (ValueError, TypeError, OverflowError) as error:
            return problems.not_convertible(name, self._config(declared), value, error)
        inputs[name] = value
        return self._check_limits(declared, value) if limits else None

    def _check_limits(self, declared: Input, value: Any) -> Problem | None:
        name = declared.name
        if "min" in declared.options and value < declared.options["min"]:
            return problems.too_small(name, self._config(declared), value)
        if "max" in declared.options and value > declared.options["max"]:
            return problems.too_big(name, self._config(declared), value)
        if declared.choices and value not in self._config(declared)[0]:
            return problems.not_in_list(name, self._config(declared), value)
        return None

    def _config(self, declared: Input) -> list[Any]:
        """Return the input's config; a combo list is read from disk once per graph."""
        if id(declared) not in self._configs:
            self._configs[id(declared)] = declared.config(self._folders)
        return self._configs[id(declared)]


def _inputs(spec: Mapping[str, Any]) -> dict[str, Any]:
    if "inputs" not in spec:
        raise _UncheckableError("KeyError", "'inputs'")
    if not isinstance(spec["inputs"], dict):
        raise _UncheckableError("TypeError", "'inputs' is not an object")
    return dict(spec["inputs"])


def _convert(value: Any, kind: str) -> Any:
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
