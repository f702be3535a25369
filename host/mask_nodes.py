"""Nodes that make and change masks."""

from host import mask_functions as run
from host.node_inputs import (
    MAX_SIZE,
    combo,
    content,
    fixed,
    input_files,
    integer,
    number,
    picture_exists,
    wire,
)
from host.node_types import Input, NodeType

_MODULE = "comfy_extras.nodes_mask"

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "LoadImageMask",
        (
            Input("image", "COMBO", {"image_upload": True}, input_files),
            combo("channel", fixed("alpha", "red", "green", "blue")),
        ),
        ("MASK",),
        run.load_mask,
        display_name="Load Image (as Mask)",
        category="mask",
        fingerprint=content("image"),
        checks={"image": picture_exists},
    ),
    NodeType(
        "MaskToImage",
        (wire("mask", "MASK"),),
        ("IMAGE",),
        run.mask_to_image,
        display_name="Convert Mask to Image",
        category="mask",
        python_module=_MODULE,
    ),
    NodeType(
        "ImageToMask",
        (wire("image", "IMAGE"), combo("channel", fixed("red", "green", "blue", "alpha"))),
        ("MASK",),
        run.image_to_mask,
        display_name="Convert Image to Mask",
        category="mask",
        python_module=_MODULE,
    ),
    NodeType(
        "SolidMask",
        (
            number("value", 1.0, 0.0, 1.0, step=0.01),
            integer("width", 512, 1, MAX_SIZE, step=1),
            integer("height", 512, 1, MAX_SIZE, step=1),
        ),
        ("MASK",),
        run.solid,
        category="mask",
        python_module=_MODULE,
    ),
    NodeType(
        "InvertMask",
        (wire("mask", "MASK"),),
        ("MASK",),
        run.invert,
        category="mask",
        python_module=_MODULE,
    ),
    NodeType(
        "GrowMask",
        (
            wire("mask", "MASK"),
            integer("expand", 0, -MAX_SIZE, MAX_SIZE, step=1),
            Input("tapered_corners", "BOOLEAN", {"default": True}),
        ),
        ("MASK",),
        run.grow,
        category="mask",
        python_module=_MODULE,
    ),
)
