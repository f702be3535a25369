"""What one host offers: its node types, their inputs and its model files, from ``/object_info``.

Read once per connection and handed round as a value. Hosts differ by version and by the nodes
that their users installed, so an entry that looks odd is left out instead of spoiling the rest,
and unknown keys are ignored. A combo is written in two ways, which come out alike::

    [["a.gguf", "b.gguf"], {...}]                    ComfyUI up to now
    ["COMBO", {"options": ["a.gguf", ...], ...}]     newer nodes

What this file refuses to know: graphs (:mod:`bridge.check` compares them with it), and HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

COMBO = "COMBO"

OutputType = str | tuple[Any, ...]
"""The type of an output; a few nodes declare the list of a combo instead of a name."""


@dataclass(frozen=True, slots=True)
class NodeInput:
    """One input as a node type declares it.

    Attributes:
        name: key in the graph's ``inputs``.
        type: INT, FLOAT, STRING, BOOLEAN, COMBO, or the type of a link (MODEL, "FLOAT,INT", "*").
        required: a graph without it is refused.
        choices: values of a combo as the host wrote them, ``None`` for other types.
        minimum: smallest value, ``None`` where any will do.
        maximum: largest value, likewise.
        step: of the editor's widget; hosts do not insist on it.
        listed: the combo is of the older form, whose list every ComfyUI insists on.
        uploads: the value names a file that clients upload, so that the list is not the whole
            truth (``LoadImage.image`` takes any file that is there).
    """

    name: str
    type: str
    required: bool
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    listed: bool = False
    uploads: bool = False


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """One node type of a host.

    Attributes:
        class_type: its name in graphs.
        inputs: required ones first, in the host's order.
        outputs: types, by slot.
        is_output: worth running for itself (SaveImage, PreviewImage).
        module: where it comes from: ``nodes``, ``comfy_extras.x``, ``custom_nodes.NAME``.
    """

    class_type: str
    inputs: tuple[NodeInput, ...]
    outputs: tuple[OutputType, ...]
    is_output: bool
    module: str

    def input(self, name: str) -> NodeInput | None:
        """Return the declared input of this name."""
        return next((item for item in self.inputs if item.name == name), None)


class _Node(BaseModel):
    input: dict[str, Any] = Field(default_factory=dict)
    output: list[Any] = Field(default_factory=list)
    output_node: bool = False
    python_module: str = ""


class Catalogue:
    """What one host offers; ``in`` asks for a node type."""

    def __init__(self, nodes: Mapping[str, NodeOffer]) -> None:
        self._nodes = dict(nodes)

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> "Catalogue":
        """Read the answer of ``GET /object_info``, or of ``/object_info/CLASS``.

        Args:
            info: node entries by class_type; an entry without a readable shape is skipped.
        """
        found = {str(name): _offer(str(name), entry) for name, entry in info.items()}
        return cls({name: offer for name, offer in found.items() if offer is not None})

    def __contains__(self, class_type: object) -> bool:
        return class_type in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def class_types(self) -> tuple[str, ...]:
        """Names of all node types, in the host's order."""
        return tuple(self._nodes)

    def node(self, class_type: str) -> NodeOffer | None:
        """Return a node type as it is declared, ``None`` where the host lacks it."""
        return self._nodes.get(class_type)

    def inputs(self, class_type: str) -> tuple[NodeInput, ...]:
        """Return the declared inputs of a node type; empty where the host lacks it."""
        offer = self._nodes.get(class_type)
        return offer.inputs if offer else ()

    def choices(self, class_type: str, name: str) -> tuple[str, ...] | None:
        """Return what a combo may be; ``None`` where there is no such node or no such combo."""
        declared = self._input(class_type, name)
        if declared is None or declared.choices is None:
            return None
        return tuple(map(str, declared.choices))

    def spelled(self, class_type: str, name: str, value: str) -> str | None:
        r"""Return the host's own spelling of a value, ``None`` where it is not offered.

        Hosts on Windows list ``flux\x.gguf`` and compare letter by letter, so a name that was
        written with the other separator is refused (comfyui.md 6).
        """
        offered = self.choices(class_type, name) or ()
        if value in offered:
            return value
        return next((choice for choice in offered if folded(choice) == folded(value)), None)

    def is_output(self, class_type: str) -> bool:
        """Return whether a node of this type is worth running for itself."""
        offer = self._nodes.get(class_type)
        return offer is not None and offer.is_output

    def _input(self, class_type: str, name: str) -> NodeInput | None:
        offer = self._nodes.get(class_type)
        return offer.input(name) if offer else None


def folded(name: str) -> str:
    """Return a file name with one kind of separator, for comparing."""
    return name.replace("\\", "/")


def _offer(class_type: str, entry: Any) -> NodeOffer | None:
    try:
        node = _Node.model_validate(entry)
    except ValidationError:
        return None
    return NodeOffer(
        class_type=class_type,
        inputs=(*_group(node, "required"), *_group(node, "optional")),
        outputs=tuple(tuple(kind) if isinstance(kind, list) else str(kind) for kind in node.output),
        is_output=node.output_node,
        module=node.python_module,
    )


def _group(node: _Node, group: str) -> tuple[NodeInput, ...]:
    entries = node.input.get(group)
    if not isinstance(entries, Mapping):
        return ()
    read = (_input(str(name), entry, group == "required") for name, entry in entries.items())
    return tuple(item for item in read if item is not None)


def _input(name: str, entry: Any, required: bool) -> NodeInput | None:
    if not isinstance(entry, list) or not entry:
        return None
    kind, options = entry[0], entry[1] if len(entry) > 1 else {}
    options = options if isinstance(options, Mapping) else {}
    listed = isinstance(kind, list)
    if not listed and not isinstance(kind, str):
        return None
    return NodeInput(
        name=name,
        type=COMBO if listed else kind,
        required=required,
        choices=_choices(kind, options),
        minimum=_number(options.get("min")),
        maximum=_number(options.get("max")),
        step=_number(options.get("step")),
        listed=listed,
        uploads=any(key.endswith("_upload") and options[key] for key in map(str, options)),
    )


def _choices(kind: Any, options: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if isinstance(kind, list):
        return tuple(kind)
    if kind != COMBO:
        return None
    offered = options.get("options")
    return tuple(offered) if isinstance(offered, list) else ()


def _number(value: Any) -> float | None:
    """Return a limit; whole numbers stay whole, as seeds reach past a float's 53 bits."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return value if plain else None
