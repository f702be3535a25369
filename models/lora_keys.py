"""How LoRA files name their targets: a key of any known family, resolved to rows of a Flux tensor.

A key is a prefix, a module's name and a suffix; each family has its own of the three:

    peft           transformer.      transformer_blocks.0.attn.to_q  .lora_A.weight
    diffusers_old  transformer.      transformer_blocks.0.attn.to_q  .lora.down.weight
    reference      diffusion_model.  double_blocks.0.img_attn.qkv    .lora_A.weight
    kohya          lora_unet_        double_blocks_0_img_attn_qkv    .lora_down.weight

and `.alpha` in any of them. Only namings that ComfyUI applies are here: it skips a key that it does
not know without a word, and a LoRA that does nothing is worse than one that is refused.

Names only; shapes and values are models/lora.py's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from models.flux import FluxShape, diffusers_pieces, tensor_shapes


class Family(StrEnum):
    """A naming of LoRA keys."""

    PEFT = "peft"
    DIFFUSERS_OLD = "diffusers_old"
    KOHYA = "kohya"
    REFERENCE = "reference"


class Part(Enum):
    """Which tensor of a LoRA layer a key names."""

    DOWN = auto()  # A: (rank, in)
    UP = auto()  # B: (rows, rank)
    ALPHA = auto()  # one number


@dataclass(frozen=True, slots=True)
class Target:
    """Rows of a reference module; swap_halves as in models.flux.Piece."""

    module: str
    start_row: int
    rows: int
    swap_halves: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart: `stem` names the module in the family's own way."""

    stem: str
    part: Part


_SUFFIXES: Mapping[str, Part] = {
    ".lora_A.weight": Part.DOWN,
    ".lora_B.weight": Part.UP,
    ".lora_A.default.weight": Part.DOWN,
    ".lora_B.default.weight": Part.UP,
    ".lora.down.weight": Part.DOWN,
    ".lora.up.weight": Part.UP,
    ".lora_down.weight": Part.DOWN,
    ".lora_up.weight": Part.UP,
    ".alpha": Part.ALPHA,
}

_TEXT_ENCODER_PREFIXES = ("lora_te", "text_encoder.", "text_encoder_2.", "text_encoders.")

# Relatives of LoRA by a mark in their keys. They are other formulas, not other names.
_RELATIVES: Mapping[str, str] = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    ".hada_w": "LoHa (LyCORIS)",
    ".lokr_w": "LoKr (LyCORIS)",
    ".lora_mid": "LoCon with a middle tensor (LyCORIS)",
    ".oft_": "OFT",
    ".a1.weight": "GLoRA (LyCORIS)",
    ".diff.": "a full difference of weights",
}


def split(key: str) -> Key | None:
    """Take a key apart, or None if it has none of the suffixes."""
    for suffix, part in _SUFFIXES.items():
        if key.endswith(suffix):
            return Key(key.removesuffix(suffix), part)
    return None


def family(key: str) -> Family:
    """The family of a key that has a target."""
    if key.startswith("lora_unet_"):
        return Family.KOHYA
    if key.startswith("diffusion_model."):
        return Family.REFERENCE
    return Family.DIFFUSERS_OLD if ".lora." in key else Family.PEFT


def is_text_encoder(key: str) -> bool:
    """Whether a key changes CLIP or T5, which LoraLoaderModelOnly leaves as they are."""
    return key.startswith(_TEXT_ENCODER_PREFIXES)


def relative(keys: Iterable[str]) -> str | None:
    """The name of the relative of LoRA that the keys belong to, if they do."""
    for key in keys:
        for mark, kind in _RELATIVES.items():
            if mark in f"{key}.":
                return kind
    return None


def targets(shape: FluxShape) -> dict[str, Target]:
    """Stem to target, of every linear layer of a Flux of this shape, in every family."""
    return dict(_targets(shape))


def _targets(shape: FluxShape) -> Iterator[tuple[str, Target]]:
    sizes = tensor_shapes(shape)
    for name, piece in diffusers_pieces(shape).items():
        if _is_linear(piece.tensor, sizes):
            module = piece.tensor.removesuffix(".weight")
            target = Target(module, piece.start_row, piece.rows, piece.swap_halves)
            yield f"transformer.{name.removesuffix('.weight')}", target
    for name, size in sizes.items():
        if _is_linear(name, sizes):
            module = name.removesuffix(".weight")
            target = Target(module, 0, size[0])
            yield f"diffusion_model.{module}", target
            yield f"lora_unet_{module.replace('.', '_')}", target


def _is_linear(tensor: str, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    return tensor.endswith(".weight") and len(sizes[tensor]) == 2
