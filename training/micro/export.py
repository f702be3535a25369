"""The trained networks as model files, in the names and folders that FLUX.1's own have.

unet: Black Forest Labs' reference names; VAE: LDM's, as in ae.safetensors; text encoders: those of
transformers, as in ComfyUI's clip_l and t5xxl files, each with its tokenizer in the metadata.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import flux, safetensors_file, store
from models.micro import clip_tokenizer, spec, t5_tokenizer
from models.micro.micro_set import MicroSet
from training.micro.networks import Networks
from training.micro.sampling import Scale

Arrays = dict[str, np.ndarray[Any, Any]]

_VAE_NAMES = (
    (r"^(encoder|decoder)\.mid_block\.resnets\.(\d)\.", r"\1.mid.block_#\2."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.down_blocks\.(\d)\.resnets\.", r".down.\1.block."),
    (r"\.down_blocks\.(\d)\.downsamplers\.0\.", r".down.\1.downsample."),
    (r"\.up_blocks\.(\d)\.resnets\.", r".up.%\1.block."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", r".up.%\1.upsample."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
)
"""diffusers' names to LDM's; # counts from 1, % from the last level."""


def write(networks: Networks, scale: Scale, files: MicroSet) -> None:
    """Write the four parts, each whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    unet = reference(networks.unet.state_dict())
    _write(files.unet, unet, {"modelspec.architecture": "flux-1-dev"})
    clip = {
        name if name.startswith("text_model.") else f"text_model.{name}": value
        for name, value in networks.clip.state_dict().items()
    }
    _write(files.clip_l, _halves(clip), {"tokenizer": clip_tokenizer.tokenizer_json()})
    t5 = networks.t5.state_dict()
    t5.pop("encoder.embed_tokens.weight", None)  # shared.weight once more
    _write(files.t5, _halves(t5), {"tokenizer": t5_tokenizer.tokenizer_json()})
    _write(files.vae, ldm(networks.vae.state_dict()), _vae_metadata(scale))


def _write(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    store.atomic_write(path, safetensors_file.serialise(arrays, metadata))


def _halves(state: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: value.detach().cpu().half().contiguous().numpy() for name, value in state.items()}


def reference(state: Mapping[str, torch.Tensor]) -> Arrays:
    """A Flux in diffusers' names, in the reference's: what these split is joined again."""
    shapes = flux.tensor_shapes(spec.FLUX)
    joined = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    for name, piece in flux.diffusers_pieces(spec.FLUX).items():
        value = state[name].detach().cpu()
        rows = torch.cat(value.chunk(2)[::-1]) if piece.swap_halves else value
        joined[piece.tensor][piece.start_row : piece.start_row + piece.rows] = rows.half().numpy()
    return joined


def ldm(state: Mapping[str, torch.Tensor]) -> Arrays:
    """A VAE in diffusers' names, in LDM's; its attention's matrices are convolutions there."""
    return {
        _ldm_name(name): value[..., None, None] if _is_matrix(name, value) else value
        for name, value in _halves(state).items()
    }


def _is_matrix(name: str, value: np.ndarray[Any, Any]) -> bool:
    return ".attentions." in name and value.ndim == 2


def _ldm_name(name: str) -> str:
    for pattern, theirs in _VAE_NAMES:
        name = re.sub(pattern, theirs, name)
    name = re.sub(r"#(\d)", lambda found: str(int(found[1]) + 1), name)
    last = len(spec.VAE.channels) - 1
    return re.sub(r"%(\d)", lambda found: str(last - int(found[1])), name)


def _vae_metadata(scale: Scale) -> dict[str, str]:
    return {
        "norm_num_groups": str(spec.VAE.norm_groups),
        "scaling_factor": f"{scale.scale:.6g}",
        "shift_factor": f"{scale.shift:.6g}",
    }
