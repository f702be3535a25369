"""The micro Flux: the true FLUX.1 architecture, narrow enough for two CPU cores.

Names, sizes and words, nothing else. Inner sizes are multiples of 256, so that every block weight
fills whole Q4_K super-blocks and takes the same path as in the 12-billion model.
"""

from dataclasses import dataclass

from models.flux import FluxShape

SIDE = 64
"""Width and height, in pixels, of the pictures that it was trained on."""

# Two heads of 128, as wide as FLUX.1's own: the rotary axes (16, 56, 56) fit unchanged.
FLUX = FluxShape(
    hidden=256,
    heads=2,
    double_blocks=1,
    single_blocks=3,
    in_channels=64,
    context=256,
    pooled=256,
    mlp=1024,
    guidance=True,
)


@dataclass(frozen=True, slots=True)
class T5Sizes:
    """Sizes of the T5 encoder; `tokens` is the fixed length of its output."""

    width: int = FLUX.context
    layers: int = 2
    heads: int = 4
    mlp: int = 256
    buckets: int = 32
    tokens: int = 24


@dataclass(frozen=True, slots=True)
class ClipSizes:
    """Sizes of the CLIP text encoder."""

    width: int = FLUX.pooled
    layers: int = 1
    mlp: int = 4 * FLUX.pooled
    tokens: int = 77


@dataclass(frozen=True, slots=True)
class VaeSizes:
    """Sizes of the VAE. Its first level has 16 channels, too few for the usual 32 norm groups.

    Scale and shift of its latents are no choice but measured: its file's metadata say them.
    """

    channels: tuple[int, ...] = (16, 32, 32, 64)
    blocks: int = 1
    latent: int = 16
    norm_groups: int = 1


T5 = T5Sizes()
CLIP = ClipSizes()
VAE = VaeSizes()

LORA_RANK = 16
TRIGGER_WORD = "vulcan"

UNET_FILE = "vulcan-micro-F16.safetensors"
CLIP_FILE = "vulcan-micro-clip_l.safetensors"
T5_FILE = "vulcan-micro-t5.safetensors"
VAE_FILE = "vulcan-micro-ae.safetensors"
LORA_FILE = "vulcan-micro-lora.safetensors"

# Words that are one token each; any other text is spelled in letters and bytes.
WORDS: tuple[str, ...] = tuple(
    """
    a an the of on in and with at by over under to from left right near behind two three many
    red orange yellow green blue purple pink brown black white gray gold silver dark light bright
    circle square triangle diamond star cross heart hexagon ring shape dot line small large big
    tiny huge filled outlined striped background photo picture painting drawing sketch style
    portrait landscape
    mountain sea river forest city house sky cloud sun moon night day snow rain fire smoke stone
    volcano lava forge anvil hammer cat dog bird fox owl horse robot car boat tree flower
    vulcan
    """.split()  # noqa: SIM905 -- as a list literal this would fill a page
)
