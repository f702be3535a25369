"""Numbers that ComfyUI 0.3.64's own code gave: levels, walks, noise.

Made by its `comfy/samplers.py`, `k_diffusion/sampling.py`, `sample.py` and `utils.py` with torch
2.13.0 and scipy 1.17.1. The walks are those of a toy model, `velocity`, on a small latent.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

DATA = Path(__file__).parent / "data"


@cache
def numbers() -> dict[str, Any]:
    """Return all of them."""
    return dict(json.loads((DATA / "comfyui_samplers.json").read_text()))


@cache
def declared_nodes() -> dict[str, Any]:
    """Return what its `/object_info` says of the nodes that sample; without names of models."""
    return dict(json.loads((DATA / "comfyui_sampler_nodes.json").read_text()))


def toy_guess(latent: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Return the picture that the toy model sees."""
    levels = torch.full((len(latent), 1, 1, 1), float(level))
    velocity = (latent * 1.5 - 0.25) * (1 + levels) + 0.125 * levels * levels
    return latent - velocity * levels
