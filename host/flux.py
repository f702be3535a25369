"""A Flux unet from a reference-named file, as diffusers' transformer with packed weights.

Any width, GGUF or safetensors, read from the shapes of the tensors. The network is never asked (the
loader of diffusers would fetch a config, and hard-codes the width 3072). The only file that knows
how Flux is called: which tokens, ids and embeddings it wants.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel

from host.errors import RenderError
from host.packed import Packed, open_weights
from host.packed_model import build
from host.values import LATENT_CHANNELS
from models import flux
from models.flux import FluxShape, Piece

HEAD_DIM = 128
ROPE_AXES = (16, 56, 56)
"""How the 128 channels of a head are shared by the position axes; fixed in every FLUX.1."""

DEFAULT_GUIDANCE = 3.5
"""What ComfyUI takes when no FluxGuidance node says otherwise."""


@dataclass(frozen=True, slots=True)
class Unet:
    """A loaded unet.

    Attributes:
        path: its file.
        shape: its sizes.
        transformer: diffusers' model; linear layers are packed.
    """

    path: Path
    shape: FluxShape
    transformer: FluxTransformer2DModel


def load(path: Path, *, dtype: torch.dtype, device: torch.device) -> Unet:
    """Load a unet.

    Args:
        path: GGUF or safetensors with reference (BFL) names.
        dtype: type in which it computes.
        device: where the packed weights are to lie.

    Raises:
        ModelError: the file is damaged or no FLUX.1.
        RenderError: it is one that this host cannot run.
    """
    file = open_weights(path)
    names = flux.reference_names(file.tensors)
    shape = flux.detect({name: file.tensors[own].shape for name, own in names.items()})
    _check(shape, path)
    tensors = {name: file.tensors[own] for name, own in names.items()}
    pieces = flux.diffusers_pieces(shape)
    weights = {name: cut(tensors, piece) for name, piece in pieces.items()}
    transformer = build(lambda: _empty(shape), weights, dtype=dtype, device=device, path=file.path)
    return Unet(path, shape, transformer)


def cut(tensors: Mapping[str, Packed], piece: Piece) -> Packed:
    """Return a diffusers parameter out of the reference tensor that holds it."""
    packed = tensors[piece.tensor].rows(piece.start_row, piece.rows)
    return packed.swapped() if piece.swap_halves else packed


def _empty(shape: FluxShape) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=shape.in_channels,
        out_channels=shape.out_channels,
        num_layers=shape.double_blocks,
        num_single_layers=shape.single_blocks,
        attention_head_dim=shape.head_dim,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.context,
        pooled_projection_dim=shape.pooled,
        guidance_embeds=shape.guidance,
        axes_dims_rope=ROPE_AXES,
    )


def _check(shape: FluxShape, path: Path) -> None:
    if shape.head_dim != HEAD_DIM:
        why = f"its attention heads are {shape.head_dim} wide, FLUX.1's are {HEAD_DIM}"
        raise RenderError("this unet cannot run here", path=path, why=why)
    if shape.in_channels != 4 * LATENT_CHANNELS or shape.out_channels != 4 * LATENT_CHANNELS:
        raise RenderError(
            "this unet cannot run here",
            path=path,
            why=f"an image token has {shape.in_channels} channels, text-to-image has 64",
            fix="Use FLUX.1 dev or schnell; Fill, Canny and Depth need other nodes",
        )


# --- calling it ---


@dataclass(frozen=True, slots=True)
class Prompts:
    """What guides a batch: one row per picture.

    Attributes:
        context: (batch, tokens, context width).
        pooled: (batch, pooled width).
        guidance: (batch,).
    """

    context: torch.Tensor
    pooled: torch.Tensor
    guidance: torch.Tensor


def velocity(
    unet: Unet, latent: torch.Tensor, sigma: torch.Tensor, prompts: Prompts
) -> torch.Tensor:
    """Return the direction in which noise lies, by one call of the model.

    Args:
        unet: the model.
        latent: (batch, 16, h, w); an odd h or w is padded as ComfyUI does it, and cut off again.
        sigma: (batch,), the amount of noise, 1 to 0.
        prompts: what guides each picture of the batch.
    """
    height, width = latent.shape[-2:]
    tokens = patchify(torch.nn.functional.pad(latent, (0, width % 2, 0, height % 2), "circular"))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    predicted = unet.transformer(
        hidden_states=tokens.to(prompts.context.dtype),
        encoder_hidden_states=prompts.context,
        pooled_projections=prompts.pooled,
        timestep=sigma.to(prompts.context.dtype),
        img_ids=image_ids(rows, columns, latent.device),
        txt_ids=torch.zeros(prompts.context.shape[1], 3, device=latent.device),
        guidance=prompts.guidance.to(prompts.context.dtype) if unet.shape.guidance else None,
        return_dict=False,
    )[0]
    return unpatchify(predicted.float(), rows, columns)[..., :height, :width]


def patchify(latent: torch.Tensor) -> torch.Tensor:
    """(batch, c, 2 rows, 2 columns) to tokens (batch, rows x columns, c x 2 x 2)."""
    batch, channels, height, width = latent.shape
    patches = latent.view(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpatchify(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Undo :func:`patchify`."""
    batch, _, width = tokens.shape
    patches = tokens.view(batch, rows, columns, width // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, width // 4, rows * 2, columns * 2)


def image_ids(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """Return the position of every image token: (rows x columns, 3), the first axis unused."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)[None, :]
    return ids.view(-1, 3)
