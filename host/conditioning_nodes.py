"""Nodes that make and change conditionings."""

from host import conditioning_functions as run
from host.node_inputs import (
    number,
    wire,
)
from host.node_types import Input, NodeType

_TEXT = {"multiline": True, "dynamicPrompts": True}
_FLUX = "comfy_extras.nodes_flux"

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "CLIPTextEncode",
        (
            Input("text", "STRING", {**_TEXT, "tooltip": "The text to be encoded."}),
            wire("clip", "CLIP", "The CLIP model used for encoding the text."),
        ),
        ("CONDITIONING",),
        run.encode_text,
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description="Encodes a text prompt using a CLIP model into an embedding that can be used "
        "to guide the diffusion model towards generating specific images.",
        output_tooltips=(
            "A conditioning containing the embedded text used to guide the diffusion model.",
        ),
    ),
    NodeType(
        "FluxGuidance",
        (wire("conditioning", "CONDITIONING"), number("guidance", 3.5, 0.0, 100.0, step=0.1)),
        ("CONDITIONING",),
        run.set_guidance,
        category="advanced/conditioning/flux",
        python_module=_FLUX,
        new_style=True,
    ),
    NodeType(
        "CLIPTextEncodeFlux",
        (
            wire("clip", "CLIP"),
            Input("clip_l", "STRING", _TEXT),
            Input("t5xxl", "STRING", _TEXT),
            number("guidance", 3.5, 0.0, 100.0, step=0.1),
        ),
        ("CONDITIONING",),
        run.encode_two_texts,
        category="advanced/conditioning/flux",
        python_module=_FLUX,
        new_style=True,
    ),
    NodeType(
        "ConditioningZeroOut",
        (wire("conditioning", "CONDITIONING"),),
        ("CONDITIONING",),
        run.zero_out,
        category="advanced/conditioning",
    ),
)
