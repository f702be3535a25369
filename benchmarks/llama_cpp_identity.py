"""Is our Q4_K_S of a full-width FLUX.1 the file that llama.cpp's own quantiser makes?

    python -m benchmarks.llama_cpp_identity [--folder DIR] [--type Q4_K_S] [--double 1] [--single 2]

Makes a FLUX.1 of random weights in BF16 (full width, few blocks; about 1.4 GB), quantises it twice,
and compares the files byte by byte. Needs about 3.3 GB of room, which are free again afterwards.

The other way is libllama's llama_model_quantize, as llama-cpp-python brings it. libllama does not
know the architecture `flux` (that is what ComfyUI-GGUF patches in), but it quantises anything that
calls itself `clip`: so those four bytes are exchanged before and after. The patch's rule of which
tensors stay as they are is handed over as overrides. libllama sorts tensors by name; so do we.
"""

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from models import gguf_file
from models.flux import FLUX_DEV, FluxShape, tensor_shapes
from models.tensor_types import FileType, TensorType
from quantize import convert, recipe

PIECE = 1 << 22  # weights made at a time
FLUX, STAND_IN = b"flux", b"clip"


def main() -> int:
    """Make, quantise twice, compare; 0 if the files are the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llama_cpp_identity")
    parser.add_argument("--folder", type=Path, help="where there is room (default: temporary)")
    parser.add_argument("--type", type=FileType.__getitem__, default=FileType.Q4_K_S)
    parser.add_argument("--double", type=int, default=1, help="double blocks")
    parser.add_argument("--single", type=int, default=2, help="single blocks")
    chosen = parser.parse_args()
    shape = replace(FLUX_DEV, double_blocks=chosen.double, single_blocks=chosen.single)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        return compare(Path(folder), shape, chosen.type)


def compare(folder: Path, shape: FluxShape, file_type: FileType) -> int:
    """Do it all in a folder."""
    source, ours, theirs = (folder / name for name in ("flux.safetensors", "ours", "theirs"))
    write_flux(source, shape)
    seconds, processor = timed(lambda: quantise(source, ours, file_type))
    tell("ours", seconds, processor, ours)
    unquantised = folder / "bf16.gguf"
    quantise(source, unquantised, FileType.BF16)
    source.unlink()
    exchange(unquantised, FLUX, STAND_IN)
    seconds, processor = timed(lambda: llama_quantise(unquantised, theirs, file_type))
    exchange(theirs, STAND_IN, FLUX)
    tell("llama.cpp", seconds, processor, theirs)
    different = list(differences(ours, theirs))
    print("\n".join(different) if different else "The files are the same, byte for byte.")
    return int(bool(different))


def tell(who: str, seconds: float, processor: float, made: Path) -> None:
    """Print one line."""
    size = made.stat().st_size
    print(f"{who:10} {seconds:6.1f} s, {processor:6.1f} s of processor, {size:,} bytes", flush=True)


def write_flux(path: Path, shape: FluxShape) -> None:
    """A safetensors file of random BF16 weights, about as large as trained ones."""
    header, position = {}, 0
    for name, size in tensor_shapes(shape).items():
        end = position + 2 * prod(size)
        header[name] = {"dtype": "BF16", "shape": size, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    stream = np.random.default_rng(20)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for left in range(position // 2, 0, -PIECE):
            weights = stream.standard_normal(min(PIECE, left), dtype=np.float32) * np.float32(0.02)
            file.write((weights.view(np.uint32) >> 16).astype(np.uint16).data)


def quantise(source: Path, target: Path, file_type: FileType) -> None:
    """Our way; tensors sorted by name."""
    plan = convert.plan(source, target, file_type, by_name=True)
    for _ in convert.run(plan, workers=os.cpu_count() or 1):
        pass


def llama_quantise(source: Path, target: Path, file_type: FileType) -> None:
    """llama.cpp's way, with lcpp.patch's exceptions as overrides."""
    import llama_cpp  # libllama: only here, it is large

    kept = [f"^{part.replace('.', '[.]')}".encode() for part in recipe.KEEP]
    overrides = (llama_cpp.llama_model_tensor_override * (len(kept) + 1))()
    for place, pattern in enumerate(kept):
        overrides[place].pattern, overrides[place].type = pattern, int(TensorType.BF16)
    wish = llama_cpp.llama_model_quantize_default_params()
    wish.ftype, wish.nthread = int(file_type), os.cpu_count() or 1
    wish.tt_overrides = ctypes.cast(overrides, type(wish.tt_overrides))
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    answer = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(wish)
    )
    if answer:
        sys.exit(f"libllama refused: {answer}")


def exchange(path: Path, old: bytes, new: bytes) -> None:
    """Put another architecture of the same length into a GGUF's header."""
    with path.open("r+b") as file:
        place = file.read(256).index(b"general.architecture")
        file.seek(place)
        place += file.read(64).index(old)
        file.seek(place)
        file.write(new)


def differences(ours: Path, theirs: Path) -> Iterator[str]:
    """Nothing for equal files; else which tensors differ."""
    with ours.open("rb") as a, theirs.open("rb") as b:
        while (piece := a.read(PIECE)) == b.read(PIECE):
            if not piece:
                return
    one, other = gguf_file.read_header(ours), gguf_file.read_header(theirs)
    yield f"metadata: {dict(one.metadata)} and {dict(other.metadata)}"
    if list(one.shapes) != list(other.shapes):
        yield "the tensors have another order"
    for tensor in one.tensors:
        found = other.tensor(tensor.name)
        if (tensor.type, tensor.offset) != (found.type, found.offset):
            yield f"{tensor.name}: {tensor.type.name}, {found.type.name}, at {found.offset}"
        elif data(ours, tensor) != data(theirs, found):
            yield f"{tensor.name}: other bytes in {tensor.type.name}"


def data(path: Path, tensor: gguf_file.GgufTensor) -> bytes:
    """A tensor's bytes."""
    with path.open("rb") as file:
        file.seek(tensor.offset)
        return file.read(tensor.nbytes)


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the wall's clock and of processor."""
    wall, processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - wall, time.process_time() - processor


if __name__ == "__main__":
    sys.exit(main())
