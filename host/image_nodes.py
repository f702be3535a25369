"""Nodes that load, scale, crop, join and pad pictures."""

from host import image_functions as run
from host.node_inputs import (
    MAX_SIZE,
    combo,
    content,
    fixed,
    input_pictures,
    integer,
    number,
    picture_exists,
    wire,
)
from host.node_types import Input, NodeType

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
CROPS = ("disabled", "center")
COLOURS = ("white", "black", "red", "green", "blue")
_STITCH_TIP = (
    "\nStitches image2 to image1 in the specified direction.\n"
    "If image2 is not provided, returns image1 unchanged.\n"
    "Optional spacing can be added between images.\n"
)

_METHOD = combo("upscale_method", fixed(*METHODS))
# ComfyUI declares this one by its newer schema, and then does not look whether a value is listed.
_NEW_METHOD = Input("upscale_method", "COMBO", {"multiselect": False, "options": list(METHODS)})


def _side(name: str) -> Input:
    return integer(name, 512, 1, MAX_SIZE, step=1)


def _margin(name: str) -> Input:
    return integer(name, 0, 0, MAX_SIZE, step=8)


ROWS: tuple[NodeType, ...] = (
    NodeType(
        "LoadImage",
        (Input("image", "COMBO", {"image_upload": True}, input_pictures),),
        ("IMAGE", "MASK"),
        run.load_image,
        display_name="Load Image",
        category="image",
        fingerprint=content("image"),
        checks={"image": picture_exists},
    ),
    NodeType(
        "ImageScale",
        (
            wire("image", "IMAGE"),
            _METHOD,
            integer("width", 512, 0, MAX_SIZE, step=1),
            integer("height", 512, 0, MAX_SIZE, step=1),
            combo("crop", fixed(*CROPS)),
        ),
        ("IMAGE",),
        run.scale,
        display_name="Upscale Image",
        category="image/upscaling",
    ),
    NodeType(
        "ImageScaleBy",
        (wire("image", "IMAGE"), _METHOD, number("scale_by", 1.0, 0.01, 8.0, step=0.01)),
        ("IMAGE",),
        run.scale_by,
        display_name="Upscale Image By",
        category="image/upscaling",
    ),
    NodeType(
        "ImageScaleToTotalPixels",
        (wire("image", "IMAGE"), _NEW_METHOD, number("megapixels", 1.0, 0.01, 16.0, step=0.01)),
        ("IMAGE",),
        run.scale_to_megapixels,
        category="image/upscaling",
        python_module="comfy_extras.nodes_post_processing",
        new_style=True,
    ),
    NodeType(
        "ImageInvert",
        (wire("image", "IMAGE"),),
        ("IMAGE",),
        run.invert,
        display_name="Invert Image",
        category="image",
    ),
    NodeType(
        "ImageBatch",
        (wire("image1", "IMAGE"), wire("image2", "IMAGE")),
        ("IMAGE",),
        run.batch,
        display_name="Batch Images",
        category="image",
    ),
    NodeType(
        "ImagePadForOutpaint",
        (
            wire("image", "IMAGE"),
            *(_margin(name) for name in ("left", "top", "right", "bottom")),
            integer("feathering", 40, 0, MAX_SIZE, step=1),
        ),
        ("IMAGE", "MASK"),
        run.pad,
        display_name="Pad Image for Outpainting",
        category="image",
    ),
    NodeType(
        "ImageCrop",
        (
            wire("image", "IMAGE"),
            _side("width"),
            _side("height"),
            integer("x", 0, 0, MAX_SIZE, step=1),
            integer("y", 0, 0, MAX_SIZE, step=1),
        ),
        ("IMAGE",),
        run.crop,
        display_name="Image Crop",
        category="image/transform",
        python_module="comfy_extras.nodes_images",
    ),
    NodeType(
        "ImageStitch",
        (
            wire("image1", "IMAGE"),
            Input("direction", "COMBO", {"default": "right"}, fixed("right", "down", "left", "up")),
            Input("match_image_size", "BOOLEAN", {"default": True}),
            integer("spacing_width", 0, 0, 1024, step=2),
            Input("spacing_color", "COMBO", {"default": "white"}, fixed(*COLOURS)),
            Input("image2", "IMAGE", required=False),
        ),
        ("IMAGE",),
        run.stitch,
        display_name="Image Stitch",
        category="image/transform",
        description=_STITCH_TIP,
        python_module="comfy_extras.nodes_images",
    ),
    NodeType(
        "ImageCompositeMasked",
        (
            wire("destination", "IMAGE"),
            wire("source", "IMAGE"),
            integer("x", 0, 0, MAX_SIZE, step=1),
            integer("y", 0, 0, MAX_SIZE, step=1),
            Input("resize_source", "BOOLEAN", {"default": False}),
            Input("mask", "MASK", required=False),
        ),
        ("IMAGE",),
        run.composite,
        category="image",
        python_module="comfy_extras.nodes_mask",
    ),
)
