"""What FLUX.1 is made of: the shape of every tensor, and its two ways of naming them.

FLUX.1 has two key layouts. The *reference* layout is Black Forest Labs' own (`double_blocks.0.
img_attn.qkv.weight`): what ComfyUI, GGUF files and our converter use. The *diffusers* layout
(`transformer_blocks.0.attn.to_q.weight`) splits what the reference fuses: q, k and v are rows of
one reference tensor. diffusers_pieces() is that map, and the only place where it is written down.

Any width is Flux to this file; no size is hard-coded beside FLUX_DEV. It reads no files and
computes nothing with weights.
Sources: black-forest-labs/flux, src/flux/model.py and modules/layers.py; huggingface/diffusers,
scripts/convert_flux_to_diffusers.py.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from models.errors import ModelError

TIME_CHANNELS = 256  # the sinusoidal embedding of time and guidance, in every FLUX.1

# All-in-one checkpoints carry the unet under one of these.
PREFIXES = ("model.diffusion_model.", "model.")


@dataclass(frozen=True, slots=True)
class FluxShape:
    """The sizes that set every tensor of a FLUX.1.

    Attributes:
        hidden: width of a token inside the blocks.
        heads: attention heads; hidden / heads is the width of one.
        double_blocks: blocks with separate weights for image and text.
        single_blocks: blocks with common weights.
        in_channels: width of an image token (16 latent channels x 2 x 2 pixels; more in Fill).
        context: width of a T5 token.
        pooled: width of CLIP's pooled output.
        mlp: inner width of the blocks' MLPs.
        guidance: whether guidance is an input (dev) or not (schnell).
        out_channels: width of a predicted image token.
    """

    hidden: int
    heads: int
    double_blocks: int
    single_blocks: int
    in_channels: int
    context: int
    pooled: int
    mlp: int
    guidance: bool
    out_channels: int = 64

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


FLUX_DEV = FluxShape(3072, 24, 19, 38, 64, 4096, 768, 12288, guidance=True)


class Layout(StrEnum):
    """Which naming a file's keys follow."""

    REFERENCE = "reference"
    DIFFUSERS = "diffusers"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Piece:
    """A diffusers parameter as rows of a reference tensor.

    Attributes:
        tensor: the reference tensor's name.
        start_row: its first row that belongs to the parameter.
        rows: how many rows do.
        swap_halves: the two halves of the rows are exchanged between the layouts.
    """

    tensor: str
    start_row: int
    rows: int
    swap_halves: bool = False


# --- the reference layout -------------------------------------------------------------------------


def tensor_shapes(shape: FluxShape) -> dict[str, tuple[int, ...]]:
    """Reference name to row-major shape of every tensor, in the reference's order."""
    return dict(_tensors(shape))


def _tensors(shape: FluxShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _linear("img_in", shape.hidden, shape.in_channels)
    yield from _embedder("time_in", shape, TIME_CHANNELS)
    yield from _embedder("vector_in", shape, shape.pooled)
    if shape.guidance:
        yield from _embedder("guidance_in", shape, TIME_CHANNELS)
    yield from _linear("txt_in", shape.hidden, shape.context)
    for index in range(shape.double_blocks):
        yield from _double_block(f"double_blocks.{index}", shape)
    for index in range(shape.single_blocks):
        yield from _single_block(f"single_blocks.{index}", shape)
    yield from _linear("final_layer.linear", shape.out_channels, shape.hidden)
    yield from _linear("final_layer.adaLN_modulation.1", 2 * shape.hidden, shape.hidden)


def _linear(module: str, rows: int, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{module}.weight", (rows, width)
    yield f"{module}.bias", (rows,)


def _embedder(module: str, shape: FluxShape, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _linear(f"{module}.in_layer", shape.hidden, width)
    yield from _linear(f"{module}.out_layer", shape.hidden, shape.hidden)


def _double_block(block: str, shape: FluxShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = shape.hidden
    for stream in ("img", "txt"):
        # shift, scale and gate for attention, then the same for the MLP
        yield from _linear(f"{block}.{stream}_mod.lin", 6 * hidden, hidden)
        yield from _linear(f"{block}.{stream}_attn.qkv", 3 * hidden, hidden)
        yield f"{block}.{stream}_attn.norm.query_norm.scale", (shape.head_dim,)
        yield f"{block}.{stream}_attn.norm.key_norm.scale", (shape.head_dim,)
        yield from _linear(f"{block}.{stream}_attn.proj", hidden, hidden)
        yield from _linear(f"{block}.{stream}_mlp.0", shape.mlp, hidden)
        yield from _linear(f"{block}.{stream}_mlp.2", hidden, shape.mlp)


def _single_block(block: str, shape: FluxShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = shape.hidden
    # q, k, v and the MLP's first half in one product; attention and MLP joined in the other
    yield from _linear(f"{block}.linear1", 3 * hidden + shape.mlp, hidden)
    yield from _linear(f"{block}.linear2", hidden, hidden + shape.mlp)
    yield f"{block}.norm.query_norm.scale", (shape.head_dim,)
    yield f"{block}.norm.key_norm.scale", (shape.head_dim,)
    yield from _linear(f"{block}.modulation.lin", 3 * hidden, hidden)


# --- the diffusers layout -------------------------------------------------------------------------


def diffusers_pieces(shape: FluxShape) -> dict[str, Piece]:
    """Every diffusers parameter name, and which rows of which reference tensor it is.

    The keys are those of diffusers' FluxTransformer2DModel.state_dict(). A parameter's other
    dimension is the reference tensor's.
    """
    return dict(_pieces(shape))


def _pieces(shape: FluxShape) -> Iterator[tuple[str, Piece]]:
    hidden = shape.hidden
    yield from _same("x_embedder", "img_in", hidden)
    yield from _same("context_embedder", "txt_in", hidden)
    embedders = {"timestep_embedder": "time_in", "text_embedder": "vector_in"}
    if shape.guidance:
        embedders["guidance_embedder"] = "guidance_in"
    for theirs, ours in embedders.items():
        yield from _same(f"time_text_embed.{theirs}.linear_1", f"{ours}.in_layer", hidden)
        yield from _same(f"time_text_embed.{theirs}.linear_2", f"{ours}.out_layer", hidden)
    for index in range(shape.double_blocks):
        yield from _double_pieces(f"transformer_blocks.{index}", f"double_blocks.{index}", shape)
    for index in range(shape.single_blocks):
        yield from _single_pieces(
            f"single_transformer_blocks.{index}", f"single_blocks.{index}", shape
        )
    yield from _same("proj_out", "final_layer.linear", shape.out_channels)
    # The reference stores [shift; scale], diffusers [scale; shift].
    for name, piece in _same("norm_out.linear", "final_layer.adaLN_modulation.1", 2 * hidden):
        yield name, replace(piece, swap_halves=True)


def _same(theirs: str, ours: str, rows: int, start: int = 0) -> Iterator[tuple[str, Piece]]:
    """Weight and bias of a diffusers linear layer: `rows` rows of a reference one."""
    yield f"{theirs}.weight", Piece(f"{ours}.weight", start, rows)
    yield f"{theirs}.bias", Piece(f"{ours}.bias", start, rows)


def _fused(block: str, names: Iterable[str], ours: str, rows: int) -> Iterator[tuple[str, Piece]]:
    """Equal diffusers layers that lie below each other in one reference layer."""
    for place, name in enumerate(names):
        yield from _same(f"{block}.{name}", ours, rows, place * rows)


def _scale(theirs: str, ours: str, rows: int) -> tuple[str, Piece]:
    return f"{theirs}.weight", Piece(f"{ours}.scale", 0, rows)


def _double_pieces(theirs: str, ours: str, shape: FluxShape) -> Iterator[tuple[str, Piece]]:
    hidden, head = shape.hidden, shape.head_dim
    yield from _same(f"{theirs}.norm1.linear", f"{ours}.img_mod.lin", 6 * hidden)
    yield from _same(f"{theirs}.norm1_context.linear", f"{ours}.txt_mod.lin", 6 * hidden)
    image = ("attn.to_q", "attn.to_k", "attn.to_v")
    yield from _fused(theirs, image, f"{ours}.img_attn.qkv", hidden)
    text = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
    yield from _fused(theirs, text, f"{ours}.txt_attn.qkv", hidden)
    yield _scale(f"{theirs}.attn.norm_q", f"{ours}.img_attn.norm.query_norm", head)
    yield _scale(f"{theirs}.attn.norm_k", f"{ours}.img_attn.norm.key_norm", head)
    yield _scale(f"{theirs}.attn.norm_added_q", f"{ours}.txt_attn.norm.query_norm", head)
    yield _scale(f"{theirs}.attn.norm_added_k", f"{ours}.txt_attn.norm.key_norm", head)
    yield from _same(f"{theirs}.attn.to_out.0", f"{ours}.img_attn.proj", hidden)
    yield from _same(f"{theirs}.attn.to_add_out", f"{ours}.txt_attn.proj", hidden)
    for mlp, stream in (("ff", "img_mlp"), ("ff_context", "txt_mlp")):
        yield from _same(f"{theirs}.{mlp}.net.0.proj", f"{ours}.{stream}.0", shape.mlp)
        yield from _same(f"{theirs}.{mlp}.net.2", f"{ours}.{stream}.2", hidden)


def _single_pieces(theirs: str, ours: str, shape: FluxShape) -> Iterator[tuple[str, Piece]]:
    hidden, head = shape.hidden, shape.head_dim
    yield from _same(f"{theirs}.norm.linear", f"{ours}.modulation.lin", 3 * hidden)
    attention = ("attn.to_q", "attn.to_k", "attn.to_v")
    yield from _fused(theirs, attention, f"{ours}.linear1", hidden)
    yield from _same(f"{theirs}.proj_mlp", f"{ours}.linear1", shape.mlp, 3 * hidden)
    yield from _same(f"{theirs}.proj_out", f"{ours}.linear2", hidden)
    yield _scale(f"{theirs}.attn.norm_q", f"{ours}.norm.query_norm", head)
    yield _scale(f"{theirs}.attn.norm_k", f"{ours}.norm.key_norm", head)


# --- telling what a file holds --------------------------------------------------------------------


def reference_names(names: Iterable[str]) -> dict[str, str]:
    """Stripped name to the file's own name, of the tensors that belong to the unet.

    If any key has a prefix, the keys without it are other models' (VAE, text encoders) and are
    left out, as ComfyUI-GGUF's convert.py does.
    """
    every = list(names)
    for prefix in PREFIXES:
        inside = [name for name in every if name.startswith(prefix)]
        if inside:
            return {name.removeprefix(prefix): name for name in inside}
    return {name: name for name in every}


def layout(names: Iterable[str]) -> Layout:
    """Which layout the (stripped) names follow, judged by the blocks' names."""
    for name in names:
        if name.startswith(("double_blocks.", "single_blocks.")):
            return Layout.REFERENCE
        if name.startswith(("transformer_blocks.", "single_transformer_blocks.")):
            return Layout.DIFFUSERS
    return Layout.UNKNOWN


def detect(shapes: Mapping[str, tuple[int, ...]]) -> FluxShape:
    """Read a FLUX.1's sizes from its reference-named tensors' shapes.

    Tensors beyond those of a FLUX.1 are let pass; unexpected() lists them.

    Raises:
        ModelError: it is no FLUX.1, or tensors are missing or misfit.
    """
    try:
        shape = _sizes(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        raise not_flux(shapes) from None
    check_shapes(shapes, tensor_shapes(shape))
    return shape


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise a ModelError unless every wanted tensor is there, in its shape."""
    missing = [name for name in wanted if name not in shapes]
    misfits = [
        f"{name} is {shapes[name]}, should be {size}"
        for name, size in wanted.items()
        if name in shapes and shapes[name] != size
    ]
    if missing or misfits:
        raise ModelError(
            "the FLUX.1 model is not complete",
            why=_first_of(missing + misfits, "missing or of the wrong shape:"),
            fix="Download it again",
        )


def not_flux(names: Iterable[str]) -> ModelError:
    """The refusal of a file with these tensors."""
    return ModelError(
        "the tensors are not those of a FLUX.1 model",
        why=_first_of(list(names), "it has"),
        fix="Vulcan runs FLUX.1 (dev, schnell and what was made from them)",
    )


def unexpected(shapes: Iterable[str], shape: FluxShape) -> list[str]:
    """Names that no FLUX.1 has."""
    known = tensor_shapes(shape)
    return [name for name in shapes if name not in known]


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> FluxShape:
    hidden, in_channels = shapes["img_in.weight"]
    _, context = shapes["txt_in.weight"]
    _, pooled = shapes["vector_in.in_layer.weight"]
    mlp, _ = shapes["double_blocks.0.img_mlp.0.weight"]
    (head_dim,) = shapes["double_blocks.0.img_attn.norm.query_norm.scale"]
    out_channels, _ = shapes["final_layer.linear.weight"]
    return FluxShape(
        hidden=hidden,
        heads=heads_of(hidden, head_dim),
        double_blocks=count_blocks(shapes, "double_blocks"),
        single_blocks=count_blocks(shapes, "single_blocks"),
        in_channels=in_channels,
        context=context,
        pooled=pooled,
        mlp=mlp,
        guidance="guidance_in.in_layer.weight" in shapes,
        out_channels=out_channels,
    )


def heads_of(hidden: int, head_dim: int) -> int:
    """How many heads of a width there are; ValueError or ZeroDivisionError if it does not fit."""
    heads, rest = divmod(hidden, head_dim)
    if rest or not heads:
        raise ValueError(f"{hidden} is no multiple of {head_dim}")
    return heads


def count_blocks(names: Iterable[str], blocks: str) -> int:
    """How many different blocks are named. A gap then shows as missing tensors."""
    pattern = re.compile(rf"{blocks}\.([0-9]+)\.")
    return len({found[1] for name in names if (found := pattern.match(name))})


def _first_of(things: list[str], lead: str, limit: int = 3) -> str:
    more = f" and {len(things) - limit} more" if len(things) > limit else ""
    return f"{lead} {', '.join(things[:limit])}{more}" if things else "it has no tensor at all"
