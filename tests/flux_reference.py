"""FLUX.1's forward pass, written down once more from its architecture, for tests.

Plain float32 tensors under reference names, no layers, no library: an oracle for how the host
splits fused weights, orders halves, embeds time and guidance, and numbers positions.
Source: black-forest-labs/flux, src/flux/model.py, modules/layers.py, math.py.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from models.flux import FluxShape

Weights = Mapping[str, Tensor]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def embedder(weights: Weights, name: str, x: Tensor) -> Tensor:
    inner = functional.silu(linear(weights, f"{name}.in_layer", x))
    return linear(weights, f"{name}.out_layer", inner)


def timestep_embedding(time: Tensor, width: int = 256) -> Tensor:
    half = width // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half) / half)
    angles = 1000 * time[:, None] * rates[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotation(ids: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Angles (tokens, head / 2)."""
    parts = []
    for axis, width in enumerate(axes):
        rates = 1.0 / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
        parts.append(ids[:, axis, None].double() * rates)
    return torch.cat(parts, -1).float()


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([cos * even - sin * odd, sin * even + cos * odd], -1).flatten(-2)


def heads_of(x: Tensor, heads: int) -> Tensor:
    batch, tokens, _ = x.shape
    return x.view(batch, tokens, heads, -1).transpose(1, 2)


def rms(x: Tensor, scale: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * scale


def queries(weights: Weights, name: str, qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (heads_of(part, heads) for part in qkv.chunk(3, -1))
    q = rms(q, weights[f"{name}.query_norm.scale"])
    return q, rms(k, weights[f"{name}.key_norm.scale"]), v


def attend(q: Tensor, k: Tensor, v: Tensor, angles: Tensor) -> Tensor:
    q, k = rotate(q, angles), rotate(k, angles)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return (1 + scale) * functional.layer_norm(x, x.shape[-1:], eps=1e-6) + shift


def modulation(weights: Weights, name: str, vec: Tensor, parts: int) -> tuple[Tensor, ...]:
    return linear(weights, name, functional.silu(vec))[:, None].chunk(parts, -1)


def gelu(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def forward(
    weights: Weights,
    shape: FluxShape,
    image: Tensor,
    text: Tensor,
    time: Tensor,
    guidance: Tensor,
    pooled: Tensor,
    ids: Tensor,
) -> Tensor:
    """Image tokens (batch, tokens, 64) to predicted tokens; ids of text and image, (tokens, 3)."""
    vec = embedder(weights, "time_in", timestep_embedding(time))
    vec = vec + embedder(weights, "guidance_in", timestep_embedding(guidance))
    vec = vec + embedder(weights, "vector_in", pooled)
    img, txt = linear(weights, "img_in", image), linear(weights, "txt_in", text)
    angles = rotation(ids, (16, 56, 56))
    for index in range(shape.double_blocks):
        img, txt = double_block(weights, f"double_blocks.{index}", shape, img, txt, vec, angles)
    x = torch.cat([txt, img], 1)
    for index in range(shape.single_blocks):
        x = single_block(weights, f"single_blocks.{index}", shape, x, vec, angles)
    shift, scale = modulation(weights, "final_layer.adaLN_modulation.1", vec, 2)
    return linear(weights, "final_layer.linear", norm(x[:, txt.shape[1] :], shift, scale))


def double_block(
    weights: Weights,
    name: str,
    shape: FluxShape,
    img: Tensor,
    txt: Tensor,
    vec: Tensor,
    angles: Tensor,
) -> tuple[Tensor, Tensor]:
    streams = {"txt": txt, "img": img}
    mods = {key: modulation(weights, f"{name}.{key}_mod.lin", vec, 6) for key in streams}
    parts = []
    for key, x in streams.items():
        shift, scale, *_ = mods[key]
        qkv = linear(weights, f"{name}.{key}_attn.qkv", norm(x, shift, scale))
        parts.append(queries(weights, f"{name}.{key}_attn.norm", qkv, shape.heads))
    q, k, v = (torch.cat([parts[0][i], parts[1][i]], 2) for i in range(3))
    attention = attend(q, k, v, angles)
    attended = {"txt": attention[:, : txt.shape[1]], "img": attention[:, txt.shape[1] :]}
    done = {}
    for key, x in streams.items():
        _, _, gate, shift, scale, gate2 = mods[key]
        x = x + gate * linear(weights, f"{name}.{key}_attn.proj", attended[key])
        inner = gelu(linear(weights, f"{name}.{key}_mlp.0", norm(x, shift, scale)))
        done[key] = x + gate2 * linear(weights, f"{name}.{key}_mlp.2", inner)
    return done["img"], done["txt"]


def single_block(
    weights: Weights, name: str, shape: FluxShape, x: Tensor, vec: Tensor, angles: Tensor
) -> Tensor:
    shift, scale, gate = modulation(weights, f"{name}.modulation.lin", vec, 3)
    both = linear(weights, f"{name}.linear1", norm(x, shift, scale))
    qkv, mlp = both[..., : 3 * shape.hidden], both[..., 3 * shape.hidden :]
    attention = attend(*queries(weights, f"{name}.norm", qkv, shape.heads), angles)
    return x + gate * linear(weights, f"{name}.linear2", torch.cat([attention, gelu(mlp)], -1))
