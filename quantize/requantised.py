"""What is left of a LoRA that is added to weights which are quantised already: the wrong way.

The contrast to bake.py: unpack the file's blocks, add the change, pack again as the same type. The
change is small against the grid that the weights stand on, so nearly all of them are rounded back.
A sample of rows tells it.
"""

from collections.abc import Iterator

import numpy as np

from models import safetensors_file
from models.gguf_file import GgufFile
from models.tensor_types import TensorType, byte_size
from quantize import kernel, unpack
from quantize.lora_delta import Floats, LoraMix, Piece

ROWS = 128  # of each piece of a layer


def kept(header: GgufFile, mix: LoraMix) -> Iterator[tuple[str, float]]:
    """Yield each changed tensor and the share of its change that is left.

    <packed(W + D) - W, D> / <D, D>, where W are the file's weights and D what the LoRAs add.

    Args:
        header: of the quantised file without LoRAs.
        mix: the LoRAs.

    Raises:
        ModelError: the file ended early.
        OSError: it cannot be read.
    """
    with header.path.open("rb", buffering=0) as file:
        for tensor in header.tensors:
            found = [
                _shares(header, tensor.name, piece, file.fileno())
                for piece in mix.pieces(tensor.name)
            ]
            change = sum(own for _, own in found)
            if change:
                yield tensor.name, sum(common for common, _ in found) / change


def _shares(header: GgufFile, name: str, piece: Piece, fd: int) -> tuple[float, float]:
    """<new - old, D> and <D, D> of a piece's first rows."""
    tensor = next(one for one in header.tensors if one.name == name)
    rows, width = min(ROWS, piece.rows), tensor.shape[-1]
    nbytes = byte_size((rows, width), tensor.type)
    packed = np.empty(nbytes, np.uint8)
    start = tensor.offset + byte_size((1, width), tensor.type) * piece.start_row
    safetensors_file.read_into(fd, start, packed.data)
    old = unpack.unpacked(tensor.type, packed, rows * width).reshape(rows, width)
    delta: Floats = piece.up[:rows] @ piece.down
    new = _again(old + delta, tensor.type)
    common = np.vdot((new - old).astype(np.float64), delta)
    return float(common), float(np.vdot(delta.astype(np.float64), delta))


def _again(weights: Floats, kind: TensorType) -> Floats:
    """Pack and unpack."""
    rows, width = weights.shape
    out = np.empty(byte_size(weights.shape, kind), np.uint8)
    raw = np.ascontiguousarray(weights, np.float32).view(np.uint8).reshape(-1)
    kernel.find(kind).pack(raw, "F32", rows, width, out)
    return unpack.unpacked(kind, out, weights.size).reshape(weights.shape)
