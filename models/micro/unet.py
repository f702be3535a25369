"""Random weights of the micro Flux, in reference names.

Not trained, but not arbitrary either. The sampler subtracts the predicted velocity step by step;
if that were independent of its input, the noise would stay and every picture look like static. So
the first and the last layer are made each other's inverse: part of the velocity is the input
itself, the noise decays, and what the blocks add from prompt, place and time is left over.
"""

from models.flux import FluxShape, tensor_shapes
from models.micro.draw import Draw, Half, Weights, ones

# Found by looking at pictures (no saturation, prompts and seeds clearly apart).
_ATTENTION_SHARPNESS = 1.8  # scale of q and k: softmax logits of about 3, not a plain average
_MODULATION_GAIN = 2.0  # the condition is small (sum of three embedders behind a SiLU)
_DECAY = 1.5  # share of the input in the velocity: the noise shrinks by e^-1.5


def weights(shape: FluxShape, seed: int) -> Weights:
    """Every tensor of a FLUX.1 of this shape."""
    draw = Draw(seed)
    drawn = {name: _tensor(draw, name, size) for name, size in tensor_shapes(shape).items()}
    return drawn | {"final_layer.linear.weight": _last_layer(drawn, shape)}


def _tensor(draw: Draw, name: str, shape: tuple[int, ...]) -> Half:
    if name.endswith("_norm.scale"):
        return ones(shape[0], _ATTENTION_SHARPNESS)
    if name.endswith(".bias"):
        return draw.normal(name, shape, 0.05)
    modulation = "_mod." in name or ".modulation." in name
    return draw.layer(name, shape, _MODULATION_GAIN if modulation else 1.0)


def _last_layer(drawn: Weights, shape: FluxShape) -> Half:
    """Random, one row for the four pixels of a latent channel, plus the first layer backwards.

    A token is a patch of (channel, 2, 2). The transpose of a random matrix with near-orthogonal
    columns is, but for a factor, its inverse.
    """
    first, last = (
        drawn[f"{name}.weight"].astype("f4") for name in ("img_in", "final_layer.linear")
    )
    smooth = last[::4].repeat(4, axis=0)
    return (smooth + _DECAY * first.T * (shape.in_channels / shape.hidden)).astype("f2")
