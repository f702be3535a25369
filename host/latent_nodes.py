"""Nodes that make and change latents without a model."""

from host import latent_functions as run
from host.node_inputs import (
    BATCH_SIZE,
    latent_size,
)
from host.node_types import NodeType

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
        (latent_size("width", 512, 8), latent_size("height", 512, 8), BATCH_SIZE),
        ("LATENT",),
        run.empty_latent,
        display_name="Empty Latent Image",
        category="latent",
        description="Create a new batch of empty latent images to be denoised via sampling.",
    ),
)
