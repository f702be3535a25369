"""Nodes that hold one value, for several others to share."""

from typing import Any

from host import primitive_functions as run
from host.node_types import Input, NodeType

_LARGEST = 2**63 - 1
_LIMITS = {"min": -_LARGEST, "max": _LARGEST}


def _row(name: str, shown: str, kind: str, options: dict[str, Any]) -> NodeType:
    return NodeType(
        name,
        (Input("value", kind, options),),
        (kind,),
        run.value,
        display_name=shown,
        category="utils/primitive",
        python_module="comfy_extras.nodes_primitive",
        new_style=True,
    )


ROWS: tuple[NodeType, ...] = (
    _row("PrimitiveString", "String", "STRING", {"multiline": False}),
    _row("PrimitiveStringMultiline", "String (Multiline)", "STRING", {"multiline": True}),
    _row("PrimitiveInt", "Int", "INT", {**_LIMITS, "control_after_generate": True}),
    _row("PrimitiveFloat", "Float", "FLOAT", _LIMITS),
    _row("PrimitiveBoolean", "Boolean", "BOOLEAN", {}),
)
