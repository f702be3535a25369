"""Small model files for tests, written by the safetensors package, not by our own code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors
from numpy.typing import NDArray

from models.flux import FluxShape, diffusers_pieces, tensor_shapes

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

# As small as a Flux gets whose block weights fill whole super-blocks.
TINY = FluxShape(
    hidden=256,
    heads=2,
    double_blocks=1,
    single_blocks=1,
    in_channels=64,
    context=256,
    pooled=256,
    mlp=512,
    guidance=True,
)

DTYPES = {
    "<f4": "float32",
    "<f2": "float16",
    "<u2": "bfloat16",
}  # numpy has no BF16: its bits stand for it


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32 values: BF16 by truncation."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """BF16 bits as float32, in the plainest way."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write(
    path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a safetensors file; uint16 arrays are BF16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    specs = {
        name: safetensors.TensorSpec(
            dtype=DTYPES[array.dtype.newbyteorder("<").str],
            shape=list(array.shape),
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
        for name, array in kept.items()
    }
    # The library writes a broken header for no tensors and empty (not absent) metadata.
    safetensors.serialize_file(specs, str(path), dict(metadata) if metadata else None)
    return path


def flux_arrays(shape: FluxShape = TINY, dtype: str = "F16", seed: int = 0) -> dict[str, Array]:
    """Random tensors of a Flux, all of one dtype."""
    stream = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name, size in tensor_shapes(shape).items():
        values = (stream.standard_normal(size) * 0.05).astype(np.float32)
        match dtype:
            case "F32":
                arrays[name] = values
            case "F16":
                arrays[name] = values.astype(np.float16)
            case _:
                arrays[name] = to_bf16(values)
    return arrays


def to_diffusers(arrays: Mapping[str, Array], shape: FluxShape = TINY) -> dict[str, Array]:
    """The same weights under diffusers' names, cut as diffusers cuts them."""
    cut: dict[str, Array] = {}
    for name, piece in diffusers_pieces(shape).items():
        rows = arrays[piece.tensor][piece.start_row : piece.start_row + piece.rows]
        cut[name] = np.concatenate(np.split(rows, 2)[::-1]) if piece.swap_halves else rows
    return cut


def write_shards(folder: Path, stem: str, arrays: Mapping[str, Array], count: int) -> Path:
    """Write arrays dealt out over `count` files, and their index; returns the index."""
    names = [f"{stem}-{number + 1:05}-of-{count:05}.safetensors" for number in range(count)]
    places = {tensor: names[number % count] for number, tensor in enumerate(arrays)}
    for name in names:
        write(folder / name, {t: arrays[t] for t, place in places.items() if place == name})
    index = folder / f"{stem}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index
