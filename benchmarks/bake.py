"""Baking against plain conversion: time and memory; and how much of a LoRA is kept.

    python -m benchmarks.bake [--double N --single N] [--rank N] [--rounds N] [--folder DIR]
    python -m benchmarks.bake --kept [--rows N]
    python -m benchmarks.bake --whole [--double N --single N]
    python -m benchmarks.bake --orders [--rows N]

The first makes a full-width BF16 Flux of N double and N single blocks and a LoRA on every linear
layer of its blocks, and converts it to Q4_K_S without and with the LoRA, in turns, each in a
process of its own with a cold page cache. Prints medians and their ratio.

The second bakes LoRAs of 0.2 to 5 % of the weights into full-width layers of Student-t weights (six
degrees of freedom), as Q4_K, Q5_K and Q6_K, and beside that the wrong way round: the LoRA added to
weights that are Q4_K already. Prints the least of all layers.

The third bakes the first one's LoRA at strengths that make it 0.2 to 5 % of the weights, and prints
what the command itself says of every whole layer: the least and the most kept, the largest error.

The fourth counts the Q4_K blocks of a layer that differ from those of our sums, if the delta is
added in another order (BLAS, as torch does it; double precision) or goes through BF16, as in a base
that was merged and saved. Everything made is deleted at the end.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks import quantize as plain
from benchmarks.quantize import Run
from models import flux, safetensors_file
from models.flux import FluxShape
from models.tensor_types import FileType, TensorType, byte_size
from quantize import bake, bake_plan, kernel, layer_proof, subspace, thin_product, unpack
from quantize.lora_delta import Choice

Floats: TypeAlias = NDArray[np.float32]

LAYERS: Mapping[str, tuple[int, int]] = {
    "attn.proj": (3072, 3072),
    "attn.qkv": (9216, 3072),
    "mlp.0": (12288, 3072),
    "mlp.2": (3072, 12288),
    "mod.lin": (18432, 3072),
    "linear1": (21504, 3072),
    "linear2": (3072, 15360),
}
SIZES = (0.002, 0.005, 0.01, 0.02, 0.05)  # of the delta, relative to the weights
RMS = 0.03  # of the weights


def main() -> None:
    """Measure and print; or, as a child, bake once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bake")
    parser.add_argument("--double", type=int, default=1)
    parser.add_argument("--single", type=int, default=2)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made")
    parser.add_argument("--kept", action="store_true", help="measure what is kept, not the time")
    parser.add_argument("--orders", action="store_true", help="compare orders of summation")
    parser.add_argument("--whole", action="store_true", help="the same, of whole layers")
    parser.add_argument("--rows", type=int, default=1536, help="of each layer, with --kept")
    parser.add_argument("--child", nargs=3, metavar=("SRC", "LORA", "DST"), default=None)
    chosen = parser.parse_args()
    if chosen.child:
        bake_here(*map(Path, chosen.child))
    elif chosen.orders:
        compare_orders(chosen.rank, chosen.rows)
    elif chosen.kept:
        measure_kept(chosen.rank, chosen.rows)
    else:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            shape = replace(flux.FLUX_DEV, double_blocks=chosen.double, single_blocks=chosen.single)
            if chosen.whole:
                measure_whole(Path(folder), shape, chosen.rank)
            else:
                measure(Path(folder), shape, chosen.rank, chosen.rounds)


# --- time and memory ------------------------------------------------------------------------------


def measure(folder: Path, shape: FluxShape, rank: int, rounds: int) -> None:
    """Make the files, convert and bake in turns, print the table."""
    source, lora, target = folder / "base.safetensors", folder / "l.safetensors", folder / "t.gguf"
    plain.need_room(folder, shape)
    weights = plain.write_source(source, shape)
    write_lora(lora, shape, rank)
    layers = sum(1 for _ in lora_targets(shape))
    print(f"base     {source.stat().st_size / 1e9:6.2f} GB, {weights / 1e9:.2f} G weights")
    print(
        f"LoRA     {lora.stat().st_size / 1e6:6.0f} MB, rank {rank} on {layers} layers", flush=True
    )
    command = [
        sys.executable,
        "-m",
        "benchmarks.bake",
        "--child",
        *map(str, (source, lora, target)),
    ]
    own, baked = [], []
    for _ in range(rounds):
        own.append(plain.run_child("own", source, target))
        baked.append(plain.run_measured(command, source, target))
    report(own, baked, weights)


def report(own: list[Run], baked: list[Run], weights: int) -> None:
    """Print medians, and the medians of the rounds' ratios."""
    plain.show("plain", plain.median(own), weights)
    plain.show("baked", plain.median(baked), weights)
    pairs = list(zip(own, baked, strict=True))
    wall = statistics.median(b.wall / o.wall for o, b in pairs)
    cpu = statistics.median(b.cpu / o.cpu for o, b in pairs)
    rounds = ", ".join(f"{b.cpu / o.cpu:.2f}" for o, b in pairs)
    print(f"ratios   {wall:.2f}x the time, {cpu:.2f}x the CPU (rounds: {rounds})")


def lora_targets(shape: FluxShape) -> Iterator[tuple[str, int, int]]:
    """Diffusers' name, rows and width of every linear layer of the blocks."""
    sizes = flux.tensor_shapes(shape)
    for name, piece in flux.diffusers_pieces(shape).items():
        if "transformer_blocks." in name and len(sizes[piece.tensor]) == 2:
            yield name.removesuffix(".weight"), piece.rows, sizes[piece.tensor][1]


def write_lora(path: Path, shape: FluxShape, rank: int) -> None:
    """Write a random LoRA in F16, of about 2 % of the weights."""
    rng = np.random.default_rng(1)
    arrays: dict[str, NDArray[np.float16]] = {}
    for name, rows, width in lora_targets(shape):
        down = rng.standard_normal((rank, width), np.float32) / np.sqrt(rank)
        up = rng.standard_normal((rows, rank), np.float32) * 0.0004
        arrays[f"transformer.{name}.lora_A.weight"] = down.astype(np.float16)
        arrays[f"transformer.{name}.lora_B.weight"] = up.astype(np.float16)
    safetensors_file.write(path, arrays, {})


def bake_here(source: Path, lora: Path, target: Path) -> None:
    """Bake as the command does; print the peak of memory."""
    plan = bake_plan.make(source, target, FileType.Q4_K_S, [Choice(lora)])
    for _ in bake.run(plan, workers=os.cpu_count() or 1):
        pass
    plain.print_peak()


# --- what is kept ---------------------------------------------------------------------------------


def measure_kept(rank: int, most_rows: int) -> None:
    """Print, for each size of delta, the least kept and the largest error of all layers."""
    ways = ["Q4_K", "Q5_K", "Q6_K", "wrong way"]
    print(
        f"{'delta':>6}  " + "  ".join(f"{way:>15}" for way in ways) + "   kept / error, worst layer"
    )
    for size in SIZES:
        found = [kept_by_layer(size, rank, min(most_rows, rows), w) for rows, w in LAYERS.values()]
        columns = [
            f"{min(one[n][0] for one in found):7.4f} / {max(one[n][1] for one in found):.3f}"
            for n in range(len(ways))
        ]
        print(f"{size:6.1%}  " + "  ".join(f"{text:>15}" for text in columns), flush=True)


def measure_whole(folder: Path, shape: FluxShape, rank: int) -> None:
    """Print what baking says of all layers, for each size of delta."""
    source, lora = folder / "base.safetensors", folder / "l.safetensors"
    plain.need_room(folder, shape)
    plain.write_source(source, shape)
    write_lora(lora, shape, rank)
    whole = statistics.median(proof.size for proof in proofs(source, lora, 1.0))
    print(f"{'delta':>6}  {'layers':>6}  {'kept':>15}  {'error':>5}  raised")
    for size in SIZES:
        found = proofs(source, lora, size / whole)
        first = [proof.attempts[0] for proof in found]
        kept = f"{min(one.kept for one in first):.4f} to {max(one.kept for one in first):.4f}"
        error, raised = max(one.error for one in first), sum(proof.raised for proof in found)
        print(f"{size:6.1%}  {len(found):6}  {kept:>15}  {error:.3f}  {raised:6}", flush=True)


def proofs(source: Path, lora: Path, strength: float) -> list[layer_proof.LayerProof]:
    """Bake as the command does; what it says of each layer."""
    target, chosen = source.with_suffix(".gguf"), [Choice(lora, strength)]
    plan = bake_plan.make(source, target, FileType.Q4_K_S, chosen)
    steps = bake.run(plan, workers=os.cpu_count() or 1, force=True)
    return [step for step in steps if isinstance(step, layer_proof.LayerProof)]


def kept_by_layer(size: float, rank: int, rows: int, width: int) -> list[tuple[float, float]]:
    """(kept, error) of one layer in three types, and of the wrong way round."""
    base, up, down = layer(size, rank, rows, width)
    delta: Floats = up @ down
    space = subspace.of(up, down)

    def judged(packed: Floats, truth: Floats) -> tuple[float, float]:
        seen = ((packed - truth) @ space.directions.T).astype(np.float32)
        attempt = layer_proof.attempt(TensorType.F32, [space.share(seen)])
        return attempt.kept, attempt.error

    kinds = (TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K)
    right = [judged(through(base + delta, kind), base + delta) for kind in kinds]
    four = through(base, TensorType.Q4_K)
    return [*right, judged(through(four + delta, TensorType.Q4_K), four + delta)]


def compare_orders(rank: int, rows: int) -> None:
    """Print the share of sums and of Q4_K blocks that differ from ours."""
    for size in SIZES:
        weights, up, down = layer(size, rank, rows, 3072)
        base = (weights.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)  # as FLUX.1 comes
        ours = thin_product.aligned((rows + thin_product.ROWS) * 3072)
        raw = np.zeros(ours.nbytes, np.uint8)
        raw[: base.nbytes] = base.view(np.uint8).reshape(-1)
        thin_product.of(up, down).add(raw, "F32", 1.0, (0, rows), ours)
        sums = ours[: base.size].reshape(base.shape)
        exact = base.astype(np.float64) + up.astype(np.float64) @ down.astype(np.float64)
        others = {
            "BLAS": (base + up @ down).astype(np.float32),
            "double": exact.astype(np.float32),
            "BF16": to_bf16(sums),
        }
        told = (f"{name}: {difference(sums, other)}" for name, other in others.items())
        print(f"{size:6.1%}  " + "   ".join(told), flush=True)


def difference(ours: Floats, theirs: Floats) -> str:
    """The shares of weights and of Q4_K blocks that are not the same."""
    one, other = (blocks_of(w, TensorType.Q4_K).reshape(-1, 144) for w in (ours, theirs))
    share = (one != other).any(axis=1).mean()
    return f"{(ours != theirs).mean():.1%} of sums, {share:.2%} of blocks"


def to_bf16(weights: Floats) -> Floats:
    """To the nearest BF16, ties to even, and back."""
    bits = weights.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32)


def layer(size: float, rank: int, rows: int, width: int) -> tuple[Floats, Floats, Floats]:
    """Weights, and up and down of a delta of a relative size."""
    rng = np.random.default_rng([rows, width])
    base = (rng.standard_t(6, (rows, width)) * (RMS / np.sqrt(1.5))).astype(np.float32)
    up = rng.standard_normal((rows, rank), np.float32) * (size * RMS / np.sqrt(rank))
    return base, up.astype(np.float32), rng.standard_normal((rank, width), np.float32)


def blocks_of(weights: Floats, kind: TensorType) -> NDArray[np.uint8]:
    """Pack."""
    rows, width = weights.shape
    packed = np.empty(byte_size((rows, width), kind), np.uint8)
    raw = np.ascontiguousarray(weights).view(np.uint8).reshape(-1)
    kernel.find(kind).pack(raw, "F32", rows, width, packed)
    return packed


def through(weights: Floats, kind: TensorType) -> Floats:
    """Pack and unpack."""
    packed = blocks_of(weights, kind)
    return unpack.unpacked(kind, packed, weights.size).reshape(weights.shape)


if __name__ == "__main__":
    main()
