"""What LoRAs add to the weights of a base, whatever the LoRAs call them.

    delta of tensor T = sum over LoRAs of strength * scale * up @ down

as *pieces*: a piece is rows of a reference tensor that no layout of FLUX.1 cuts up any further (q,
k, v and the MLP of a fused tensor are four). It has one pair of thin matrices, in float32:
strength and scale are multiplied into `up` in double precision, and the terms of all layers follow
one another, file by file as they were named, and within a file from the first row on. Terms that
are zero throughout a piece are left out.

So a piece is the same to the last bit whether a LoRA changes q, k and v by three pairs, by one pair
on the fused tensor, or by one of three times the rank that is zero where the others are.

Weights of LoRAs are read when a tensor needs them, and given up after it.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models import flux, lora, safetensors_file, store
from models.errors import ModelError
from models.flux import FluxShape
from models.lora import LoraFile, LoraLayer
from models.pairing import PairingError
from models.safetensors_file import TensorInfo
from quantize import decode

Floats: TypeAlias = NDArray[np.float32]

_FIX = "Use the model it was trained on, or another LoRA; `lora check` lists what fits"


@dataclass(frozen=True, slots=True)
class Choice:
    """A LoRA file, and how strongly it is to be used."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Piece:
    """The change of `rows` rows from `start_row`: up (rows, terms) @ down (terms, width)."""

    start_row: int
    up: Floats
    down: Floats

    @property
    def rows(self) -> int:
        """How many rows change."""
        return len(self.up)


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One LoRA of a mix, checked: it fits, and its numbers are finite."""

    choice: Choice
    file: LoraFile
    sha256: str


class LoraMix:
    """All LoRAs that are added to one base. Safe to call from several threads.

    Args:
        shape: the base's sizes.
        ingredients: the LoRAs, in the order in which they are added.
    """

    def __init__(self, shape: FluxShape, ingredients: Sequence[Ingredient]) -> None:
        self.ingredients = tuple(ingredients)
        self._cuts = _cuts(shape)
        self._layers: dict[str, list[tuple[Ingredient, LoraLayer]]] = defaultdict(list)
        for one in self.ingredients:
            for layer in sorted(one.file.layers, key=lambda layer: layer.start_row):
                self._layers[f"{layer.module}.weight"].append((one, layer))

    @property
    def targets(self) -> frozenset[str]:
        """Names of the tensors that have a layer."""
        return frozenset(self._layers)

    def pieces(self, tensor: str) -> tuple[Piece, ...]:
        """What is added to a tensor, in the order of its rows; none if all of it is zero.

        Raises:
            ModelError: a LoRA changed or vanished since it was checked.
        """
        found = [_factors(one, layer) for one, layer in self._layers.get(tensor, ())]
        return tuple(_pieces(found, self._cuts.get(tensor, ())))


def read(base: Path, shape: FluxShape, choices: Sequence[Choice]) -> LoraMix:
    """Open LoRAs for a base, and make sure that all of each of them will be added.

    Raises:
        PairingError: a key of one finds no target in the base, or a shape misfits.
        ModelError: one is damaged, no LoRA, or holds numbers that are not finite.
    """
    shapes = flux.tensor_shapes(shape)
    found = []
    for choice in choices:
        file = lora.read(choice.path, shape)
        if problems := lora.problems(file, shapes):
            raise PairingError(base, choice.path, problems, _FIX)
        digest = store.sha256(choice.path)
        ingredient = Ingredient(choice, file, digest)
        _check_finite(ingredient)
        found.append(ingredient)
    return LoraMix(shape, found)


def _check_finite(one: Ingredient) -> None:
    for layer in one.file.layers:
        if not math.isfinite(layer.scale * one.choice.strength):
            raise _unusable(one, layer.module, "its alpha is not finite")
        _factors(one, layer)


def _cuts(shape: FluxShape) -> Mapping[str, tuple[tuple[int, int], ...]]:
    """The first row and the number of rows of every piece, by tensor."""
    cuts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for piece in flux.diffusers_pieces(shape).values():
        cuts[piece.tensor].append((piece.start_row, piece.rows))
    return {name: tuple(sorted(found)) for name, found in cuts.items()}


# --- weights --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Factors:
    """One layer's pair, on rows from `start_row`."""

    start_row: int
    up: Floats
    down: Floats


def _factors(one: Ingredient, layer: LoraLayer) -> _Factors:
    with one.file.path.open("rb") as file:
        down = _matrix(one, file.fileno(), layer.down)
        up = _matrix(one, file.fileno(), layer.up)
    if layer.swap_halves:
        up = np.concatenate(np.split(up, 2)[::-1])
    factor = layer.scale * one.choice.strength
    if factor != 1:
        with np.errstate(over="ignore"):
            np.multiply(up, np.float64(factor), out=up, dtype=np.float64, casting="same_kind")
        if not np.isfinite(up).all():
            why = "times strength and scale it is beyond float32's range"
            raise _unusable(one, layer.up.name, why)
    return _Factors(layer.start_row, up, down)


def _matrix(one: Ingredient, fd: int, info: TensorInfo) -> Floats:
    raw = np.empty(info.nbytes, np.uint8)
    try:
        safetensors_file.read_into(fd, info.offset, raw.data)
    except ModelError as error:
        raise error.about(one.file.path) from error
    matrix = np.empty(math.prod(info.shape), np.float32)
    decode.decode(raw, info.dtype, matrix)
    bad = decode.first_bad(matrix, np.empty(matrix.shape, np.bool_))
    if bad is not None:
        kind = "NaN" if np.isnan(matrix[bad]) else "infinity"
        place = [int(axis) for axis in np.unravel_index(bad, info.shape)]
        raise _unusable(one, info.name, f"it holds {kind} at {place}")
    return matrix.reshape(info.shape)


def _unusable(one: Ingredient, name: str, why: str) -> ModelError:
    return ModelError(
        "the LoRA's numbers are not usable",
        path=one.file.path,
        why=f"{name}: {why}",
        fix="Its training or a merge went wrong: use another copy, or an earlier checkpoint",
    )


# --- pieces ---------------------------------------------------------------------------------------


def _pieces(found: Sequence[_Factors], cuts: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    for start, rows in cuts:
        ups, downs = [], []
        for one in found:
            up = _overlap(one, start, rows)
            if up is not None:
                alive = _nonzero(up, 0) & _nonzero(one.down, 1)
                ups.append(up if alive.all() else up[:, alive])
                downs.append(one.down if alive.all() else one.down[alive])
        if sum(len(down) for down in downs):
            yield Piece(start, _joined(ups, 1), _joined(downs, 0))


def _nonzero(matrix: Floats, axis: int) -> NDArray[np.bool_]:
    """Which columns (0) or rows (1) hold anything but zeros; by their bits, which is quicker."""
    bits: NDArray[np.uint32] = np.bitwise_or.reduce(matrix.view(np.uint32), axis=axis)
    found: NDArray[np.bool_] = bits << 1 != 0
    return found


def _joined(parts: Sequence[Floats], axis: int) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _overlap(one: _Factors, start: int, rows: int) -> Floats | None:
    """A layer's rows of up in a piece; zero in the rest of the piece, None if there are none."""
    first, last = max(start, one.start_row), min(start + rows, one.start_row + len(one.up))
    if first >= last:
        return None
    if last - first == rows:
        return one.up[first - one.start_row : last - one.start_row]
    up = np.zeros((rows, one.up.shape[1]), np.float32)
    up[first - start : last - start] = one.up[first - one.start_row : last - one.start_row]
    return up
