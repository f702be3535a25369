"""From the tensors of a file to those of the reference layout: which rows come from where.

One answer for both layouts: each reference tensor is a list of row ranges of the file's tensors.
In the reference layout that is one range, the whole; in diffusers' it is what
flux.diffusers_pieces() says, turned round. So whoever reads weights never asks which layout it was.

It opens no file and sees no weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from models import flux
from models.errors import ModelError
from models.flux import FluxShape, Layout, Piece

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` rows of a file's tensor from `start`; they follow those of the range before."""

    name: str
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Assembly:
    """A FLUX.1 in reference layout, as rows of a file's tensors.

    Attributes:
        shape: its sizes.
        layout: the layout of the file.
        tensors: reference name to the ranges that make it; in the file's order for a file in
            reference layout, else in the order of flux.tensor_shapes().
    """

    shape: FluxShape
    layout: Layout
    tensors: Mapping[str, tuple[Rows, ...]]


def assemble(shapes: Shapes) -> Assembly:
    """Recognise a FLUX.1 by its (stripped) names and shapes.

    Raises:
        ModelError: it is none, something is missing or misfits, or something does not belong.
    """
    if flux.layout(shapes) is Layout.DIFFUSERS:
        return _from_diffusers(shapes)
    shape = flux.detect(shapes)
    _refuse_strangers(flux.unexpected(shapes, shape))
    whole = {name: (Rows(name, 0, size[0]),) for name, size in shapes.items()}
    return Assembly(shape, Layout.REFERENCE, whole)


def _refuse_strangers(strangers: list[str]) -> None:
    if strangers:
        raise ModelError(
            f"{len(strangers)} of the source's tensors are not FLUX.1's",
            why=f"there is no rule for {', '.join(strangers[:3])}",
            fix="Use the model as it was published, without another's tensors in it",
        )


def _from_diffusers(shapes: Shapes) -> Assembly:
    shape = _diffusers_sizes(shapes)
    reference, pieces = flux.tensor_shapes(shape), flux.diffusers_pieces(shape)
    wanted = {name: (piece.rows, *reference[piece.tensor][1:]) for name, piece in pieces.items()}
    flux.check_shapes(shapes, wanted)
    _refuse_strangers([name for name in shapes if name not in pieces])
    ranges: dict[str, list[tuple[int, Rows]]] = {name: [] for name in reference}
    for name, piece in pieces.items():
        ranges[piece.tensor] += _ranges(name, piece)
    tensors = {name: tuple(rows for _, rows in sorted(found, key=lambda one: one[0]))
               for name, found in ranges.items()}  # fmt: skip
    return Assembly(shape, Layout.DIFFUSERS, tensors)


def _ranges(name: str, piece: Piece) -> list[tuple[int, Rows]]:
    """A piece as ranges, each with the reference row at which it begins."""
    if not piece.swap_halves:
        return [(piece.start_row, Rows(name, 0, piece.rows))]
    half = piece.rows // 2
    return [
        (piece.start_row, Rows(name, half, half)),
        (piece.start_row + half, Rows(name, 0, half)),
    ]


def _diffusers_sizes(shapes: Shapes) -> FluxShape:
    """Read the sizes from the diffusers names; what they do not agree on, check_shapes finds."""
    block = "transformer_blocks.0"
    try:
        hidden, in_channels = shapes["x_embedder.weight"]
        _, context = shapes["context_embedder.weight"]
        _, pooled = shapes["time_text_embed.text_embedder.linear_1.weight"]
        mlp, _ = shapes[f"{block}.ff.net.0.proj.weight"]
        (head_dim,) = shapes[f"{block}.attn.norm_q.weight"]
        out_channels, _ = shapes["proj_out.weight"]
        heads = flux.heads_of(hidden, head_dim)
    except (KeyError, ValueError, ZeroDivisionError):
        raise flux.not_flux(shapes) from None
    return FluxShape(
        hidden=hidden,
        heads=heads,
        double_blocks=flux.count_blocks(shapes, "transformer_blocks"),
        single_blocks=flux.count_blocks(shapes, "single_transformer_blocks"),
        in_channels=in_channels,
        context=context,
        pooled=pooled,
        mlp=mlp,
        guidance="time_text_embed.guidance_embedder.linear_1.weight" in shapes,
        out_channels=out_channels,
    )
