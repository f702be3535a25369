"""The node table: every class_type that this host runs, with its inputs, outputs and function.

Names, defaults, limits, tooltips and categories are ComfyUI's (and ComfyUI-GGUF's), so that its
clients' own checks pass; combo lists hold only what really runs here. Each family of nodes has its
rows in a ``*_nodes`` module and its functions, which are thin, in ``*_functions`` beside it.
"""

from host import (
    conditioning_nodes,
    image_nodes,
    latent_nodes,
    loader_nodes,
    mask_nodes,
    output_nodes,
    primitive_nodes,
    sampler_nodes,
    vae_nodes,
)
from host.node_types import NodeTable

_FAMILIES = (
    loader_nodes.ROWS,
    conditioning_nodes.ROWS,
    latent_nodes.ROWS,
    sampler_nodes.ROWS,
    vae_nodes.ROWS,
    image_nodes.ROWS,
    mask_nodes.ROWS,
    primitive_nodes.ROWS,
    output_nodes.ROWS,
)

TABLE: NodeTable = {row.name: row for family in _FAMILIES for row in family}
