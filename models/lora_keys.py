"""How LoRA files name their targets: a key of any known family, resolved to rows of a Flux tensor.

A key is a prefix, a module's name and a suffix. Prefix and module make the family:

    peft             transformer.       transformer_blocks.0.attn.to_q   ai-toolkit, SimpleTuner
    diffusers_bare                      transformer_blocks.0.attn.to_q
    peft_raw         base_model.model.  either way of naming modules
    diffusers_mixed  diffusion_model.   transformer_blocks.0.attn.to_q
    onetrainer       lora_transformer_  transformer_blocks_0_attn_to_q
    lycoris          lycoris_           transformer_blocks_0_attn_to_q
    reference        diffusion_model.   double_blocks.0.img_attn.qkv
    reference_bare                      double_blocks.0.img_attn.qkv
    kohya            lora_unet_         double_blocks_0_img_attn_qkv     sd-scripts
    xlabs                               double_blocks.0.processor.qkv_lora1

The suffix is the style; any style goes with any family, and `.alpha` with each. The old diffusers
suffix makes a peft file one of the family diffusers_old.

Names only; shapes and values are models/lora.py's, who loads which family models/lora_readers.py's.
Sources: ComfyUI, comfy/lora.py, model_lora_keys_unet(), comfy/weight_adapter/lora.py (the styles)
and comfy/lora_convert.py (XLabs); diffusers, loaders/lora_conversion_utils.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import lru_cache

from models.flux import FluxShape, diffusers_pieces, tensor_shapes


class Family(StrEnum):
    """A naming of LoRA keys."""

    PEFT = "peft"
    DIFFUSERS_OLD = "diffusers_old"
    DIFFUSERS_BARE = "diffusers_bare"
    PEFT_RAW = "peft_raw"
    DIFFUSERS_MIXED = "diffusers_mixed"
    ONETRAINER = "onetrainer"
    LYCORIS = "lycoris"
    REFERENCE = "reference"
    REFERENCE_BARE = "reference_bare"
    KOHYA = "kohya"
    XLABS = "xlabs"


class Part(Enum):
    """Which tensor of a LoRA layer a key names."""

    DOWN = auto()  # A: (rank, in)
    UP = auto()  # B: (rows, rank)
    ALPHA = auto()  # one number


class Style(Enum):
    """The suffixes of down and up."""

    AB = (".lora_A.weight", ".lora_B.weight")
    AB_DEFAULT = (".lora_A.default.weight", ".lora_B.default.weight")
    AB_SHORT = (".lora_A", ".lora_B")
    OLD = (".lora.down.weight", ".lora.up.weight")
    DOWN_UP = (".lora_down.weight", ".lora_up.weight")
    UNDERSCORE = ("_lora.down.weight", "_lora.up.weight")
    LINEAR_LAYER = (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")
    XLABS = (".down.weight", ".up.weight")


@dataclass(frozen=True, slots=True)
class Target:
    """Rows of a reference module, and the family whose name for them it is.

    swap_halves as in models.flux.Piece.
    """

    family: Family
    module: str
    start_row: int
    rows: int
    swap_halves: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart: `stem` names the module in the family's own way; an alpha has no style."""

    stem: str
    part: Part
    style: Style | None


_ALPHA = ".alpha"
_PROCESSOR = ".processor."  # XLabs, whose suffixes end as others' do
_ENDS: Mapping[str, tuple[Part, Style]] = {
    end: (part, style)
    for style in Style
    if style is not Style.XLABS
    for end, part in zip(style.value, (Part.DOWN, Part.UP), strict=True)
}
_XLABS_ENDS: Mapping[str, tuple[Part, Style]] = {
    end: (part, Style.XLABS)
    for end, part in zip(Style.XLABS.value, (Part.DOWN, Part.UP), strict=True)
}

_TEXT_ENCODER_PREFIXES = ("lora_te", "text_encoder.", "text_encoder_2.", "text_encoders.")

# How diffusers' modules and the reference's are spelt by each family; flat: dots are underscores.
_DIFFUSERS_PREFIXES: Mapping[Family, tuple[str, bool]] = {
    Family.PEFT: ("transformer.", False),
    Family.DIFFUSERS_BARE: ("", False),
    Family.PEFT_RAW: ("base_model.model.", False),
    Family.DIFFUSERS_MIXED: ("diffusion_model.", False),
    Family.ONETRAINER: ("lora_transformer_", True),
    Family.LYCORIS: ("lycoris_", True),
}
_REFERENCE_PREFIXES: Mapping[Family, tuple[str, bool]] = {
    Family.REFERENCE: ("diffusion_model.", False),
    Family.REFERENCE_BARE: ("", False),
    Family.PEFT_RAW: ("base_model.model.", False),
    Family.KOHYA: ("lora_unet_", True),
}
# XLabs' processors of a double block; 1 is the image's stream, 2 the text's.
_XLABS_DOUBLE: Mapping[str, str] = {
    "qkv_lora1": "img_attn.qkv",
    "qkv_lora2": "txt_attn.qkv",
    "proj_lora1": "img_attn.proj",
    "proj_lora2": "txt_attn.proj",
}
_XLABS_PREFIXES = ("", "diffusion_model.")


def split(key: str) -> Key | None:
    """Take a key apart, or None if it has none of the suffixes."""
    if key.endswith(_ALPHA):
        return Key(key.removesuffix(_ALPHA), Part.ALPHA, None)
    for end, (part, style) in (_XLABS_ENDS if _PROCESSOR in key else _ENDS).items():
        if key.endswith(end):
            return Key(key.removesuffix(end), part, style)
    return None


def is_text_encoder(key: str) -> bool:
    """Whether a key changes CLIP or T5, which LoraLoaderModelOnly leaves as they are."""
    return key.startswith(_TEXT_ENCODER_PREFIXES)


@lru_cache(maxsize=8)
def targets(shape: FluxShape) -> Mapping[str, Target]:
    """Stem to target, of every linear layer of a Flux of this shape, in every family."""
    return dict(_targets(shape))


def _targets(shape: FluxShape) -> Iterator[tuple[str, Target]]:
    sizes = tensor_shapes(shape)
    for name, piece in diffusers_pieces(shape).items():
        if _is_linear(piece.tensor, sizes):
            place = (_module(piece.tensor), piece.start_row, piece.rows, piece.swap_halves)
            for family, stem in _spelt(_module(name), _DIFFUSERS_PREFIXES):
                yield stem, Target(family, *place)
    for name, size in sizes.items():
        if _is_linear(name, sizes):
            for family, stem in _spelt(_module(name), _REFERENCE_PREFIXES):
                yield stem, Target(family, _module(name), 0, size[0])
    yield from _special_targets(shape, sizes)


def _special_targets(
    shape: FluxShape, sizes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Target]]:
    """XLabs' processors, and ComfyUI's name for the attention rows of a fused linear1."""
    for index in range(shape.double_blocks):
        for name, module in _XLABS_DOUBLE.items():
            rows = sizes[f"double_blocks.{index}.{module}.weight"][0]
            target = Target(Family.XLABS, f"double_blocks.{index}.{module}", 0, rows)
            for prefix in _XLABS_PREFIXES:
                yield f"{prefix}double_blocks.{index}{_PROCESSOR}{name}", target
    for index in range(shape.single_blocks):
        block = f"single_blocks.{index}"
        qkv = Target(Family.XLABS, f"{block}.linear1", 0, 3 * shape.hidden)
        proj = Target(Family.XLABS, f"{block}.linear2", 0, shape.hidden)
        for prefix in _XLABS_PREFIXES:
            yield f"{prefix}{block}{_PROCESSOR}qkv_lora", qkv
            yield f"{prefix}{block}{_PROCESSOR}proj_lora", proj
        fused = Target(Family.REFERENCE, f"{block}.linear1", 0, 3 * shape.hidden)
        yield f"diffusion_model.{block}.linear1_qkv", fused


def _spelt(
    module: str, prefixes: Mapping[Family, tuple[str, bool]]
) -> Iterator[tuple[Family, str]]:
    for family, (prefix, flat) in prefixes.items():
        yield family, prefix + (module.replace(".", "_") if flat else module)


def _module(tensor: str) -> str:
    return tensor.removesuffix(".weight")


def _is_linear(tensor: str, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    return tensor.endswith(".weight") and len(sizes[tensor]) == 2
