"""How a LoRA is cut up into diffusers modules: which rows of which layer become which pair.

What the reference fuses is several modules there: each of q, k, v and the MLP gets its rows of up,
and the whole of down. Names and shapes only; quantize/lora_convert.py does the cutting.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from models import lora as lora_file
from models import safetensors_file
from models.errors import ModelError
from models.flux import Piece, diffusers_pieces, tensor_shapes
from models.lora import LoraFile, LoraLayer
from models.safetensors_file import TensorInfo

_TOLD = 3  # reasons in one sentence


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of a layer's up that are one diffusers module's.

    Attributes:
        layer: the layer.
        start: first of the rows.
        rows: how many.
        swap_halves: the module has the two halves of the rows the other way round.
    """

    layer: LoraLayer
    start: int
    rows: int
    swap_halves: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One diffusers module of the result, and the layers that change it: nearly always one."""

    name: str
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class LoraConversion:
    """What becomes what: the pairs to write, and text encoder tensors to take along as they are."""

    lora: LoraFile
    modules: tuple[Module, ...]
    carried: tuple[TensorInfo, ...]


def plan(lora: LoraFile) -> LoraConversion:
    """Find out what becomes what.

    Raises:
        ModelError: some of it could not be carried over: a key without a target, a wrong shape.
    """
    if found := lora_file.problems(lora, tensor_shapes(lora.shape)):
        more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        raise ModelError(
            "the LoRA cannot be converted without losing some of it",
            path=lora.path,
            why="; ".join(found[:_TOLD]) + more,
            fix="Use --unet with the model it was made for, or another LoRA",
        )
    shares: dict[str, list[Share]] = {}
    pieces = _pieces_by_tensor(lora)
    for layer in lora.layers:
        for name, share in _shares(layer, pieces[f"{layer.module}.weight"]):
            shares.setdefault(name, []).append(share)
    infos = {info.name: info for info in safetensors_file.read_header(lora.path).tensors}
    return LoraConversion(
        lora,
        tuple(Module(name, tuple(found)) for name, found in shares.items()),
        tuple(infos[name] for name in lora.text_encoder),
    )


def _pieces_by_tensor(lora: LoraFile) -> dict[str, list[tuple[str, Piece]]]:
    """Reference tensor to the diffusers modules that its rows are."""
    pieces: dict[str, list[tuple[str, Piece]]] = {}
    for name, piece in diffusers_pieces(lora.shape).items():
        pieces.setdefault(piece.tensor, []).append((name.removesuffix(".weight"), piece))
    return pieces


def _shares(layer: LoraLayer, pieces: list[tuple[str, Piece]]) -> Iterator[tuple[str, Share]]:
    """The diffusers modules that lie in the layer's rows; each lies in them as a whole."""
    for name, piece in pieces:
        start = piece.start_row - layer.start_row
        if start >= 0 and start + piece.rows <= layer.rows:
            yield name, Share(layer, start, piece.rows, piece.swap_halves != layer.swap_halves)
