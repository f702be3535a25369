"""What computing takes beside the weights: ComfyUI's reckoning, and what really lives at once.

ComfyUI reckons by the area of the latents and keeps so much free of weights; it never refuses a
job. What a pass really takes is less for large pictures: count the tensors that live at once in
ComfyUI's own code and the most is reached in a block's attention, when the rotated copies of q and
k are made in float32, or while a large weight is unpacked. Newer builds rotate with less; what no
build can do without is what goes into linear2, what it was made of, and the tokens. That is the
floor: a card that has less cannot run the job, whatever the settings.

Not in the counts: the CUDA context (CONTEXT), workspaces of cuBLAS and cuDNN, and the allocator's
rounding. It knows no card and no file.
Sources: ComfyUI 0.3.64, comfy/model_base.py:354, comfy/supported_models.py:704,
comfy/sampler_helpers.py:118, comfy/sd.py:279; the counts are recorded from the running code in
tests/data/comfyui_memory (benchmarks/comfyui_passes.py), and tests/test_vram_needs.py compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from models.flux import FLUX_DEV, FluxShape
from models.vram_card import MIB
from models.vram_modules import COMPUTE_BYTES, Weights

FLUX_FACTOR = 3.1  # memory_usage_factor of Flux (supported_models.py:704)
LATENT = 8  # pixels of a latent's side
PATCH = 2  # latents of an image token's side
TEXT_TOKENS = 256  # T5's least (comfy/text_encoders/flux.py:12); longer prompts have more
CONTEXT = 300 * MIB  # bytes of a CUDA context with its kernels, about; torch does not count them
STEP = 64  # pixels between sizes that are tried for a nearest one
LEAST_SIDE = 256  # pixels, below which Flux draws nothing worth having


@dataclass(frozen=True, slots=True)
class Picture:
    """What is asked for: pixels, and how many at once."""

    width: int
    height: int
    batch: int = 1

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Shape of the latents: batch, channels, height, width."""
        return self.batch, 16, self.height // LATENT, self.width // LATENT

    @property
    def tokens(self) -> int:
        """Tokens of one picture, the text's included."""
        _, _, height, width = self.latent
        return -(-height // PATCH) * -(-width // PATCH) + TEXT_TOKENS

    def __str__(self) -> str:
        """Say it as people do: 1024x1024, batch 4."""
        return f"{self.width}x{self.height}, batch {self.batch}"


# --- ComfyUI's reckoning --------------------------------------------------------------------------


def sampling(picture: Picture) -> float:
    """memory_required(): bytes that ComfyUI keeps for one pass over a batch."""
    batch, _, *sides = picture.latent
    area = batch * prod(sides)
    return (area * COMPUTE_BYTES * 0.01 * FLUX_FACTOR) * (1024 * 1024)


def sampling_wished(picture: Picture) -> float:
    """Bytes that it makes room for: enough for prompt and negative prompt in one pass."""
    return sampling(replace(picture, batch=2 * picture.batch))


def decoding(picture: Picture) -> int:
    """Bytes that ComfyUI reckons for decoding one picture; a batch is decoded in as many as fit."""
    _, _, height, width = picture.latent
    return (2178 * height * width * 64) * COMPUTE_BYTES


# --- what lives at once ---------------------------------------------------------------------------

# Bytes for each token and channel of a block's attention: the tokens (2), linear1's result (14),
# normed q and k (4), both in float32 (8), two float32 products and their sum (12).
_ATTENTION = 40
# Of these none can be spared: the tokens (2), linear1's result (14), attention's (2), and what goes
# into linear2, joined of both (10).
_LEAST = 28
_ROTATIONS = 1024  # bytes for each token: sine and cosine of 64 angles, as matrices in float32
# The same while a layer's weight is unpacked. linear1: the tokens, and modulated (4). linear2: the
# tokens, linear1's result, q and k, attention's result (2), and what goes in (10).
_AROUND = {"linear1": 4, "linear2": 32}
# Bytes for each weight of a GGUF's layer while a LoRA is added: the weight (2), the change in
# float32 (4), the same times its strength (4), and rounded (2).
_ADDING = 12
_DECODED = 1280  # bytes for each pixel that decoding takes, in BF16


def pass_bytes(picture: Picture, weights: Weights, shape: FluxShape, *, lora: bool = False) -> int:
    """The most bytes that live at once in one pass, beside weights that are on the card."""
    each = picture.batch * picture.tokens
    most = attention_bytes(picture, shape)
    for module in weights.modules:
        around = _AROUND.get(module.name.rpartition(".")[2])
        if around is not None:
            adding = module.unpacked // COMPUTE_BYTES * _ADDING if lora else 0
            beside = each * (around * shape.hidden + _ROTATIONS)
            most = max(most, max(module.unpacking, adding) + beside)
    return most


def attention_bytes(picture: Picture, shape: FluxShape) -> int:
    """Bytes that live at once in a block's attention, whatever the file type."""
    return picture.batch * picture.tokens * (_ATTENTION * shape.hidden + _ROTATIONS)


def decoded_bytes(picture: Picture) -> int:
    """The most bytes that live at once while one picture is decoded whole."""
    return _DECODED * picture.width * picture.height


# --- what a card can hold -------------------------------------------------------------------------


def floor(picture: Picture, shape: FluxShape = FLUX_DEV) -> int:
    """Bytes without which no setting and no build helps, with nothing else on the card."""
    return CONTEXT + picture.batch * picture.tokens * _LEAST * shape.hidden


def runs(picture: Picture, shape: FluxShape, total: int) -> bool:
    """Tell whether a card of so many bytes can run it as ComfyUI 0.3.64 does, all streamed."""
    return CONTEXT + attention_bytes(picture, shape) <= total


def nearest(picture: Picture, shape: FluxShape, total: int) -> Iterator[Picture]:
    """What comes next below a picture that a card cannot hold: fewer at once, then smaller."""
    for batch in range(picture.batch - 1, 0, -1):
        fewer = replace(picture, batch=batch)
        if runs(fewer, shape, total):
            yield fewer
            break
    longer = max(picture.width, picture.height)
    for side in range(longer // STEP * STEP, LEAST_SIDE - 1, -STEP):
        smaller = Picture(
            _stepped(picture.width * side / longer),
            _stepped(picture.height * side / longer),
            picture.batch,
        )
        if runs(smaller, shape, total):
            yield smaller
            break


def _stepped(pixels: float) -> int:
    return max(STEP, int(pixels) // STEP * STEP)
