"""How a node is declared: its inputs, outputs and function, as one value.

ComfyUI spreads this over a class with strings; here a node is a row of a table
(:mod:`host.nodes`) and ``object_info`` is generated from the same row that runs. Pure but for the
combo lists, which are read from the folders at each call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from host.folders import Folders
from host.messages import ImageFormat

Choices = Callable[[Folders], list[str]]


@dataclass(frozen=True, slots=True)
class Input:
    """One declared input.

    Attributes:
        name: key in the graph's ``inputs``.
        type: INT, FLOAT, STRING, BOOLEAN, COMBO, or the type of a link (MODEL, IMAGE, ...).
        options: default, min, max, step, tooltip, as ``object_info`` shows them.
        choices: the values of a COMBO.
        required: a missing required input is a validation error.
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Choices | None = None
    required: bool = True

    @property
    def takes_values(self) -> bool:
        """Return whether a plain value may stand here; other types only come through links."""
        return self.type in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

    def config(self, folders: Folders) -> list[Any]:
        """Return ``[type or choices, options]``, as validation errors quote it."""
        return [self.choices(folders) if self.choices else self.type, dict(self.options)]


@dataclass(frozen=True, slots=True)
class Result:
    """What a node made.

    Attributes:
        outputs: one value per declared output.
        ui: what ``executed`` and the history show, None if the node shows nothing.
        files: files behind ``ui``; a cached result is only good while they exist.
    """

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] | None = None
    files: tuple[Path, ...] = ()


class Context(Protocol):
    """What a running node may use besides its inputs."""

    @property
    def folders(self) -> Folders:
        """Return the host's folders."""

    @property
    def graph(self) -> Mapping[str, Any]:
        """Return the whole graph, for the picture's metadata."""

    @property
    def extra_pnginfo(self) -> Mapping[str, Any]:
        """Return what the client wants in the picture's text chunks."""

    @property
    def engine(self) -> Any:
        """Return the engine (:class:`host.engine.Engine`); waits until torch is loaded."""

    def random_name(self) -> str:
        """Return five random letters for a temporary file."""

    def progress(self, value: int, total: int, preview: "Picture | None" = None) -> None:
        """Report a step and stop here if the client asked for it.

        Raises:
            InterruptedRunError: the job was interrupted.
        """

    def now(self) -> float:
        """Return seconds since the epoch, for names that carry the date."""

    @property
    def previews(self) -> bool:
        """Return whether samplers are to make previews."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image on its way to the socket."""

    image: bytes
    format: ImageFormat


Run = Callable[..., Result]
Fingerprint = Callable[[Folders, Mapping[str, Any]], str]
Check = Callable[[Folders, Any], str]


@dataclass(frozen=True, slots=True)
class NodeType:
    """One row of the node table.

    Attributes:
        name: class_type in a graph.
        inputs: in the order in which ``object_info`` lists them.
        outputs: their types; their names are the same unless ``output_names`` says otherwise.
        run: called as ``run(context, **inputs)``.
        is_output: the node is worth running for itself.
        hidden: inputs that the host fills in (prompt, extra_pnginfo), for ``object_info``.
        always_runs: never taken from the cache.
        fingerprint: text that changes when something outside the graph does (a file).
        checks: by input name, what to ask of a plain value instead of its limits and choices; the
            answer is the complaint, empty if there is none (ComfyUI's VALIDATE_INPUTS).
        output_names: see ``outputs``.
        new_style: ComfyUI declares it by its newer schema, which ``object_info`` shows.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    run: Run
    display_name: str = ""
    category: str = ""
    description: str = ""
    python_module: str = "nodes"
    is_output: bool = False
    hidden: Mapping[str, str] = field(default_factory=dict)
    output_tooltips: tuple[str, ...] = ()
    always_runs: bool = False
    fingerprint: Fingerprint | None = None
    output_names: tuple[str, ...] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    new_style: bool = False

    def input(self, name: str) -> Input | None:
        """Return the declared input of this name."""
        return next((item for item in self.inputs if item.name == name), None)


NodeTable = Mapping[str, NodeType]


def object_info(node: NodeType, folders: Folders) -> dict[str, Any]:
    """Return the node as ``GET /object_info`` describes it."""
    info: dict[str, Any] = {
        **_inputs_info(node, folders),
        "output": list(node.outputs),
        "output_is_list": [False] * len(node.outputs),
        "output_name": list(node.output_names or node.outputs),
        "name": node.name,
        "display_name": node.display_name or node.name,
        "description": node.description,
        "python_module": node.python_module,
        "category": node.category,
        "output_node": node.is_output,
    }
    if node.output_tooltips:
        info["output_tooltips"] = list(node.output_tooltips)
    return info | _new_style(node) if node.new_style else info


def _new_style(node: NodeType) -> dict[str, Any]:
    """Return what ComfyUI's newer schema says otherwise: null where nothing was declared."""
    return {
        "display_name": node.display_name or None,
        "output_tooltips": list(node.output_tooltips) or [None] * len(node.outputs),
        "deprecated": False,
        "experimental": False,
        "api_node": False,
    }


def _inputs_info(node: NodeType, folders: Folders) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {"required": {}}
    for item in node.inputs:
        group = groups.setdefault("required" if item.required else "optional", {})
        kind, options = item.config(folders)
        group[item.name] = [kind, options] if options or node.new_style else [kind]
    if node.hidden:
        groups["hidden"] = dict(node.hidden)
    return {"input": groups, "input_order": {name: list(group) for name, group in groups.items()}}
