"""Nodes that make pictures from nothing, save and show them."""

from host import output_functions as run
from host.node_inputs import (
    BATCH_SIZE,
    MAX_SIZE,
    integer,
    wire,
)
from host.node_types import Input, NodeType

_PICTURE_DATA = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_PREFIX_TIP = (
    "The prefix for the file to save. This may include formatting information such as "
    "%date:yyyy-MM-dd% or %Empty Latent Image.width% to include values from nodes."
)

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "EmptyImage",
        (
            integer("width", 512, 1, MAX_SIZE, step=1),
            integer("height", 512, 1, MAX_SIZE, step=1),
            BATCH_SIZE,
            integer("color", 0, 0, 0xFFFFFF, step=1, display="color"),
        ),
        ("IMAGE",),
        run.empty_image,
        category="image",
    ),
    NodeType(
        "SaveImage",
        (
            wire("images", "IMAGE", "The images to save."),
            Input("filename_prefix", "STRING", {"default": "ComfyUI", "tooltip": _PREFIX_TIP}),
        ),
        (),
        run.save_image,
        display_name="Save Image",
        category="image",
        description="Saves the input images to your ComfyUI output directory.",
        is_output=True,
        hidden=_PICTURE_DATA,
    ),
    NodeType(
        "PreviewImage",
        (wire("images", "IMAGE"),),
        (),
        run.preview_image,
        display_name="Preview Image",
        category="image",
        description="Saves the input images to your ComfyUI output directory.",
        is_output=True,
        hidden=_PICTURE_DATA,
    ),
    NodeType(
        "SaveImageWebsocket",
        (wire("images", "IMAGE"),),
        (),
        run.send_image,
        category="api/image",
        python_module="custom_nodes.websocket_image_save",
        is_output=True,
        always_runs=True,
    ),
)
