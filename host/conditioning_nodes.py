"""Nodes that make and change conditionings."""

from host import conditioning_functions as run
from host.node_inputs import (
    number,
    wire,
)
from host.node_types import Input, NodeType

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "CLIPTextEncode",
        (
            Input(
                "text",
                "STRING",
                {"multiline": True, "dynamicPrompts": True, "tooltip": "The text to be encoded."},
            ),
            wire("clip", "CLIP", "The CLIP model used for encoding the text."),
        ),
        ("CONDITIONING",),
        run.encode_text,
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description="Encodes a text prompt into an embedding that guides the diffusion model.",
    ),
    NodeType(
        "FluxGuidance",
        (wire("conditioning", "CONDITIONING"), number("guidance", 3.5, 0.0, 100.0, step=0.1)),
        ("CONDITIONING",),
        run.set_guidance,
        category="advanced/conditioning/flux",
        python_module="comfy_extras.nodes_flux",
    ),
    NodeType(
        "ConditioningZeroOut",
        (wire("conditioning", "CONDITIONING"),),
        ("CONDITIONING",),
        run.zero_out,
        category="advanced/conditioning",
    ),
)
