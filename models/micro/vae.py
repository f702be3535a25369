"""Random weights of the micro VAE, in the names of FLUX.1's ae.safetensors (LDM layout).

Level 0 is the full resolution in both halves: the encoder's `down` runs from 0 up, the decoder's
`up` from the last level back to 0. There are no quantisation convolutions, as in FLUX.1.
"""

from itertools import pairwise

from models.micro.draw import Draw, Weights, norm
from models.micro.spec import VaeSizes

_PICTURE_GAIN = 0.35  # of the last convolution: most pixels within -1 .. 1


def weights(sizes: VaeSizes, seed: int) -> Weights:
    """Every tensor of encoder and decoder."""
    draw = Draw(seed)
    return _encoder(draw, sizes) | _decoder(draw, sizes)


def _encoder(draw: Draw, sizes: VaeSizes) -> Weights:
    channels, deepest = sizes.channels, sizes.channels[-1]
    tensors = draw.conv("encoder.conv_in", channels[0], 3, 3)
    for level, (before, after) in enumerate(pairwise((channels[0], *channels))):
        for block in range(sizes.blocks):
            wide = before if block == 0 else after
            tensors |= _residual(draw, f"encoder.down.{level}.block.{block}", wide, after)
        if level < len(channels) - 1:
            tensors |= draw.conv(f"encoder.down.{level}.downsample.conv", after, after, 3)
    tensors |= _middle(draw, "encoder.mid", deepest) | norm("encoder.norm_out", deepest)
    # mean and log-variance of each latent channel
    return tensors | draw.conv("encoder.conv_out", 2 * sizes.latent, deepest, 3)


def _decoder(draw: Draw, sizes: VaeSizes) -> Weights:
    channels, deepest = sizes.channels, sizes.channels[-1]
    tensors = draw.conv("decoder.conv_in", deepest, sizes.latent, 3)
    tensors |= _middle(draw, "decoder.mid", deepest)
    downwards = list(enumerate(channels))[::-1]
    before = deepest
    for level, after in downwards:
        for block in range(sizes.blocks + 1):
            tensors |= _residual(draw, f"decoder.up.{level}.block.{block}", before, after)
            before = after
        if level > 0:
            tensors |= draw.conv(f"decoder.up.{level}.upsample.conv", after, after, 3)
    tensors |= norm("decoder.norm_out", channels[0])
    return tensors | draw.conv("decoder.conv_out", 3, channels[0], 3, _PICTURE_GAIN)


def _middle(draw: Draw, name: str, width: int) -> Weights:
    tensors = _residual(draw, f"{name}.block_1", width, width)
    tensors |= norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        tensors |= draw.conv(f"{name}.attn_1.{part}", width, width, 1)
    return tensors | _residual(draw, f"{name}.block_2", width, width)


def _residual(draw: Draw, name: str, before: int, after: int) -> Weights:
    tensors = norm(f"{name}.norm1", before) | draw.conv(f"{name}.conv1", after, before, 3)
    tensors |= norm(f"{name}.norm2", after) | draw.conv(f"{name}.conv2", after, after, 3)
    if before != after:
        tensors |= draw.conv(f"{name}.nin_shortcut", after, before, 1)
    return tensors
