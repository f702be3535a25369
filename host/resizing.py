"""Makes pictures and latents larger or smaller, with ComfyUI's methods (common_upscale).

``lanczos`` is Pillow's, on 8 bits; ``bislerp`` is :mod:`host.bislerp`; the others are torch's.
"""

import numpy as np
import torch
from PIL import Image

from host.bislerp import bislerp
from host.errors import RenderError
from host.images import Pixels, to_bytes
from host.size_limit import check_room

TORCH_METHODS = ("nearest-exact", "bilinear", "area", "bicubic")


def resized(pixels: Pixels, width: int, height: int, method: str, crop: str = "disabled") -> Pixels:
    """Return pictures in another size.

    Args:
        pixels: float32, shape (batch, height, width, channels).
        width: of the result, in pixels.
        height: of the result, in pixels.
        method: ``lanczos`` or one of :data:`TORCH_METHODS`.
        crop: ``center`` first cuts off what has no place in the new shape; ``disabled`` distorts.

    Raises:
        RenderError: nothing would be left, or there is no such method.
    """
    _check(width, height)
    # Twice: each method makes a copy on its way.
    size = 2 * 4 * len(pixels) * width * height * pixels.shape[-1]
    check_room(size, f"a picture of {width} x {height}")
    if crop == "center":
        x, y = _cut(pixels.shape[2], pixels.shape[1], width, height)
        pixels = pixels[:, y : pixels.shape[1] - y, x : pixels.shape[2] - x]
    if method == "lanczos":
        return np.stack([_lanczos(one, width, height) for one in pixels])
    samples = torch.from_numpy(np.array(pixels)).movedim(-1, 1)
    scaled = _interpolated(samples, width, height, method).movedim(1, -1)
    result: Pixels = scaled.contiguous().numpy()
    return result


def joined(first: Pixels, second: Pixels) -> Pixels:
    """Return one batch of two; the second in the size of the first, cropped around its centre."""
    if first.shape[1:] != second.shape[1:]:
        height, width = first.shape[1:3]
        second = resized(second, width, height, "bilinear", "center")
    return np.concatenate((first, second))


def resized_latent(
    samples: torch.Tensor, width: int, height: int, method: str, crop: str = "disabled"
) -> torch.Tensor:
    """Return latents (batch, channels, height, width) in another size, in latent positions.

    Raises:
        RenderError: nothing would be left, or there is no such method.
    """
    _check(width, height)
    if crop == "center":
        x, y = _cut(samples.shape[3], samples.shape[2], width, height)
        samples = samples[:, :, y : samples.shape[2] - y, x : samples.shape[3] - x]
    return _interpolated(samples, width, height, method)


def _interpolated(samples: torch.Tensor, width: int, height: int, method: str) -> torch.Tensor:
    if method == "bislerp":
        return bislerp(samples, width, height)
    if method not in TORCH_METHODS:
        raise RenderError(
            f"there is no upscale method {method!r}",
            fix=f"Choose one of {', '.join((*TORCH_METHODS, 'lanczos'))}",
        )
    return torch.nn.functional.interpolate(samples, size=(height, width), mode=method)


def _lanczos(picture: Pixels, width: int, height: int) -> Pixels:
    image = Image.fromarray(to_bytes(picture))
    scaled = image.resize((width, height), resample=Image.Resampling.LANCZOS)
    return np.asarray(scaled).astype(np.float32) / np.float32(255)


def _check(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise RenderError(
            f"a picture of {width} x {height} would have no size",
            fix="Choose a larger factor or size",
        )


def _cut(old_width: int, old_height: int, width: int, height: int) -> tuple[int, int]:
    """Return how much is cut off at each side, and at top and bottom, to have the new shape."""
    old, new = old_width / old_height, width / height
    x = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    y = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    if 2 * x >= old_width or 2 * y >= old_height:
        raise RenderError(
            f"nothing is left of {old_width} x {old_height} cut to the shape of {width} x {height}",
            fix="Choose a size that is less narrow, or crop: disabled",
        )
    return x, y
