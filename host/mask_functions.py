"""What the nodes of :mod:`host.mask_nodes` do. numpy and Pillow load with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host.errors import RenderError
from host.image_functions import picture_path
from host.node_types import Context, Result

if TYPE_CHECKING:
    from host.images import Pixels
    from host.picture_files import Mask


def load_mask(context: Context, *, image: str, channel: str) -> Result:
    """LoadImageMask: one channel of a picture."""
    from host.picture_files import load_channel

    return Result((load_channel(picture_path(context, image), channel),))


def mask_to_image(context: Context, *, mask: Mask) -> Result:
    """MaskToImage: a grey picture."""
    import numpy as np

    del context
    return Result((np.repeat(mask[..., None], 3, axis=-1),))


def image_to_mask(context: Context, *, image: Pixels, channel: str) -> Result:
    """ImageToMask: one channel."""
    del context
    index = ("red", "green", "blue", "alpha").index(channel)
    if index >= image.shape[-1]:
        raise RenderError(
            f"the picture has no channel {channel}",
            fix="Take the mask that LoadImage gives, or another channel",
        )
    return Result((image[..., index],))


def solid(context: Context, *, value: float, width: int, height: int) -> Result:
    """SolidMask: the same everywhere."""
    import numpy as np

    del context
    return Result((np.full((1, height, width), value, np.float32),))


def invert(context: Context, *, mask: Mask) -> Result:
    """InvertMask: drawn becomes kept."""
    del context
    return Result((1 - mask,))


def grow(context: Context, *, mask: Mask, expand: int, tapered_corners: bool) -> Result:
    """GrowMask: larger by so many pixels, smaller if negative."""
    from host.mask_growth import grown

    del context
    return Result((grown(mask, expand, tapered=tapered_corners),))
