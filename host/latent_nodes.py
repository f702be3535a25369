"""Nodes that make and change latents without a model."""

from host import latent_functions as run
from host.image_nodes import CROPS
from host.node_inputs import (
    BATCH_SIZE,
    MAX_SIZE,
    combo,
    fixed,
    integer,
    latent_size,
    number,
    wire,
)
from host.node_types import NodeType

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")

_METHOD = combo("upscale_method", fixed(*METHODS))
_SAMPLES = wire("samples", "LATENT")
_BATCH_TIP = "The number of latent images in the batch."

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "EmptySD3LatentImage",
        (latent_size("width", 1024, 16), latent_size("height", 1024, 16), BATCH_SIZE),
        ("LATENT",),
        run.empty_latent,
        category="latent/sd3",
        python_module="comfy_extras.nodes_sd3",
    ),
    NodeType(
        "EmptyLatentImage",
        (
            latent_size("width", 512, 8),
            latent_size("height", 512, 8),
            integer("batch_size", 1, 1, 4096, tooltip=_BATCH_TIP),
        ),
        ("LATENT",),
        run.empty_latent,
        display_name="Empty Latent Image",
        category="latent",
        description="Create a new batch of empty latent images to be denoised via sampling.",
        output_tooltips=("The empty latent image batch.",),
    ),
    NodeType(
        "LatentUpscale",
        (
            _SAMPLES,
            _METHOD,
            integer("width", 512, 0, MAX_SIZE, step=8),
            integer("height", 512, 0, MAX_SIZE, step=8),
            combo("crop", fixed(*CROPS)),
        ),
        ("LATENT",),
        run.upscale,
        display_name="Upscale Latent",
        category="latent",
    ),
    NodeType(
        "LatentUpscaleBy",
        (_SAMPLES, _METHOD, number("scale_by", 1.5, 0.01, 8.0, step=0.01)),
        ("LATENT",),
        run.upscale_by,
        display_name="Upscale Latent By",
        category="latent",
    ),
    NodeType(
        "LatentFromBatch",
        (_SAMPLES, integer("batch_index", 0, 0, 63), integer("length", 1, 1, 64)),
        ("LATENT",),
        run.from_batch,
        display_name="Latent From Batch",
        category="latent/batch",
    ),
    NodeType(
        "RepeatLatentBatch",
        (_SAMPLES, integer("amount", 1, 1, 64)),
        ("LATENT",),
        run.repeat,
        display_name="Repeat Latent Batch",
        category="latent/batch",
    ),
    NodeType(
        "SetLatentNoiseMask",
        (_SAMPLES, wire("mask", "MASK")),
        ("LATENT",),
        run.set_noise_mask,
        display_name="Set Latent Noise Mask",
        category="latent/inpaint",
    ),
)
