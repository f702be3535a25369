"""The shipped files as networks to train with: the way back of :mod:`training.micro.export`."""

from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file

from models import flux, safetensors_file
from models.micro import spec
from models.micro.micro_set import MicroSet
from training.micro import networks
from training.micro.networks import Networks
from training.micro.sampling import Scale

Tensors = dict[str, torch.Tensor]


def load(files: MicroSet) -> tuple[Networks, Scale]:
    """Return all four networks, frozen, in float32, and where the VAE's latents lie.

    Raises:
        ModelError: a file is damaged.
    """
    made = networks.make(seed=0)
    made.t5.load_state_dict(_t5(files.t5))
    made.clip.load_state_dict(_clip(files.clip_l, set(made.clip.state_dict())))
    made.vae.load_state_dict(convert_ldm_vae_checkpoint(_floats(files.vae), made.vae.config))
    made.unet.load_state_dict(diffusers(_floats(files.unet)))
    for network in (made.t5, made.clip, made.vae, made.unet):
        network.requires_grad_(requires_grad=False).eval()
    return made, _scale(files.vae)


def diffusers(tensors: Tensors) -> Tensors:
    """A Flux in the reference's names, in diffusers'."""
    cut = {}
    for name, piece in flux.diffusers_pieces(spec.FLUX).items():
        rows = tensors[piece.tensor][piece.start_row : piece.start_row + piece.rows]
        cut[name] = torch.cat(rows.chunk(2)[::-1]) if piece.swap_halves else rows
    return cut


def _t5(path: Path) -> Tensors:
    tensors = _floats(path)
    return tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"]}


def _clip(path: Path, own: set[str]) -> Tensors:
    """CLIP's tensors; whether names begin with the module's depends on transformers' version."""
    named = {name.removeprefix("text_model."): value for name, value in _floats(path).items()}
    return {
        name: named[name.removeprefix("text_model.")]
        for name in own
        if name.removeprefix("text_model.") in named
    }


def _floats(path: Path) -> Tensors:
    safetensors_file.read_header(path)  # says in a sentence what is wrong with a damaged file
    return {name: value.float() for name, value in load_file(path).items()}


def _scale(vae: Path) -> Scale:
    metadata: Any = safetensors_file.read_header(vae).metadata
    return Scale(float(metadata["shift_factor"]), float(metadata["scaling_factor"]))
