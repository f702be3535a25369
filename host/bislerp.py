"""Scales latents along the sphere instead of through it, so that they keep their length.

ComfyUI's method ``bislerp``: first along the width, then along the height, each new position is a
spherical interpolation between its two neighbours, seen as vectors of channels.
"""

import torch

NEARLY = 1e-5
"""Cosine that far from 1 or -1: the same or the opposite direction."""


def bislerp(samples: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return latents (batch, channels, height, width) in another size."""
    wide = _along_last(samples.float(), width)
    high = _along_last(wide.transpose(-1, -2), height).transpose(-1, -2)
    return high.contiguous().to(samples.dtype)


def _along_last(samples: torch.Tensor, length: int) -> torch.Tensor:
    ratio, first, second = _neighbours(samples.shape[-1], length, samples.device)
    return _slerp(samples[..., first], samples[..., second], ratio)


def _neighbours(
    old: int, new: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return for each new position its place between two old ones (0 to 1), and which they are."""
    places = torch.arange(old, dtype=torch.float32, device=device)
    following = (places + 1).clamp(max=old - 1)
    here, there = (
        torch.nn.functional.interpolate(one[None, None, None], size=(1, new), mode="bilinear")[
            0, 0, 0
        ]
        for one in (places, following)
    )
    return here - here.floor(), here.long(), there.long()


def _slerp(first: torch.Tensor, second: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Interpolate vectors along dimension 1; their lengths are interpolated by themselves."""
    lengths = [torch.linalg.vector_norm(one, dim=1, keepdim=True) for one in (first, second)]
    one, other = (
        torch.where(length == 0, torch.zeros_like(vector), vector / length)
        for vector, length in zip((first, second), lengths, strict=True)
    )
    cosine = (one * other).sum(1, keepdim=True)
    angle = torch.acos(cosine)
    weights = [torch.sin(share * angle) / torch.sin(angle) for share in (1 - ratio, ratio)]
    turned = weights[0] * one + weights[1] * other
    turned = turned * (lengths[0] * (1 - ratio) + lengths[1] * ratio)
    # Where the angle is 0 or a half turn, there is no one way along the sphere.
    turned = torch.where(cosine > 1 - NEARLY, first, turned)
    straight = first * (1 - ratio) + second * ratio
    return torch.where(cosine < NEARLY - 1, straight, turned)
