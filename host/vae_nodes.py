"""Nodes between pixels and latents."""

from host import vae_functions as run
from host.node_inputs import integer, wire
from host.node_types import Input, NodeType

_PIXELS, _SAMPLES = wire("pixels", "IMAGE"), wire("samples", "LATENT")
_VAE = wire("vae", "VAE")


def _tiling(verb: str, step: int) -> tuple[Input, ...]:
    """Return the inputs of a tiled node; those about time are for video and change nothing here."""
    size_tip = f"Only used for video VAEs: Amount of frames to {verb} at a time."
    overlap_tip = "Only used for video VAEs: Amount of frames to overlap."
    return (
        integer("tile_size", 512, 64, 4096, step=step),
        integer("overlap", 64, 0, 4096, step=32),
        integer("temporal_size", 64, 8, 4096, step=4, tooltip=size_tip),
        integer("temporal_overlap", 8, 4, 4096, step=4, tooltip=overlap_tip),
    )


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
    NodeType(
        "VAEDecodeTiled",
        (_SAMPLES, _VAE, *_tiling("decode", 32)),
        ("IMAGE",),
        run.decode_tiled,
        display_name="VAE Decode (Tiled)",
        category="_for_testing",
    ),
    NodeType(
        "VAEEncode",
        (_PIXELS, _VAE),
        ("LATENT",),
        run.encode,
        display_name="VAE Encode",
        category="latent",
    ),
    NodeType(
        "VAEEncodeTiled",
        (_PIXELS, _VAE, *_tiling("encode", 64)),
        ("LATENT",),
        run.encode_tiled,
        display_name="VAE Encode (Tiled)",
        category="_for_testing",
    ),
    NodeType(
        "VAEEncodeForInpaint",
        (_PIXELS, _VAE, wire("mask", "MASK"), integer("grow_mask_by", 6, 0, 64, step=1)),
        ("LATENT",),
        run.encode_for_inpaint,
        display_name="VAE Encode (for Inpainting)",
        category="latent/inpaint",
    ),
)
