"""Values that stand alone, for several nodes to read."""

import sys
from collections.abc import Mapping
from typing import Any

from host import primitive_functions as run
from host.node_types import Input, NodeType

_RANGE = {"min": -sys.maxsize, "max": sys.maxsize}


def _primitive(name: str, shown: str, kind: str, options: Mapping[str, Any]) -> NodeType:
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
    _primitive("PrimitiveString", "String", "STRING", {"multiline": False}),
    _primitive("PrimitiveStringMultiline", "String (Multiline)", "STRING", {"multiline": True}),
    _primitive("PrimitiveInt", "Int", "INT", {**_RANGE, "control_after_generate": True}),
    _primitive("PrimitiveFloat", "Float", "FLOAT", _RANGE),
    _primitive("PrimitiveBoolean", "Boolean", "BOOLEAN", {}),
)
