"""Nodes between pixels and latents."""

from host import vae_functions as run
from host.node_inputs import (
    wire,
)
from host.node_types import NodeType

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "VAEDecode",
        (
            wire("samples", "LATENT", "The latent to be decoded."),
            wire("vae", "VAE", "The VAE model used for decoding the latent."),
        ),
        ("IMAGE",),
        run.decode,
        display_name="VAE Decode",
        category="latent",
        description="Decodes latent images back into pixel space images.",
        output_tooltips=("The decoded image.",),
    ),
)
