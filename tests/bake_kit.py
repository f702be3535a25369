"""One LoRA in many namings, and LoRA files for the tests of baking."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import gguf_file
from models.flux import FluxShape, Piece, diffusers_pieces, tensor_shapes
from models.tensor_types import FileType, TensorType
from quantize import bake, bake_plan, overrides
from quantize.layer_proof import LayerProof
from quantize.lora_delta import Choice
from tests import model_files
from tests.model_files import TINY, Array

Pairs = Mapping[str, tuple[NDArray[np.float16], NDArray[np.float16]]]  # down and up, by module

SUFFIXES = {
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "peft default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "old diffusers": (".lora.down.weight", ".lora.up.weight"),
    "kohya": (".lora_down.weight", ".lora_up.weight"),
}
NAMINGS = (
    *("peft", "peft default", "old diffusers", "peft with alpha"),
    *("kohya", "reference", "reference with alpha"),
)


def linear_pieces(shape: FluxShape) -> dict[str, Piece]:
    """Diffusers' modules in the blocks that are linear layers."""
    sizes = tensor_shapes(shape)
    return {
        name.removesuffix(".weight"): piece
        for name, piece in diffusers_pieces(shape).items()
        if "transformer_blocks." in name and len(sizes[piece.tensor]) == 2
    }


def pairs(shape: FluxShape = TINY, rank: int = 4, size: float = 0.02, seed: int = 0) -> Pairs:
    """A random pair for each of them."""
    stream = np.random.default_rng(seed)
    sizes = tensor_shapes(shape)
    return {
        name: (
            stream.standard_normal((rank, sizes[piece.tensor][1])).astype(np.float16),
            (stream.standard_normal((piece.rows, rank)) * size).astype(np.float16),
        )
        for name, piece in linear_pieces(shape).items()
    }


def named(naming: str, given: Pairs, shape: FluxShape = TINY) -> dict[str, Array]:
    """The same LoRA in one of NAMINGS."""
    family = naming.removesuffix(" with alpha")
    halved = naming.endswith("with alpha")  # alpha = rank / 2, and up doubled: the same product
    if family in ("kohya", "reference"):
        given = fused(given, shape)
    arrays: dict[str, Array] = {}
    down_suffix, up_suffix = SUFFIXES["peft" if family == "reference" else family]
    for module, (down, up) in given.items():
        stem = _stem(family, module)
        arrays[stem + down_suffix] = down
        arrays[stem + up_suffix] = up * 2 if halved else up
        if halved:
            arrays[f"{stem}.alpha"] = np.array(len(down) / 2, np.float32)
    return arrays


def _stem(family: str, module: str) -> str:
    match family:
        case "kohya":
            return f"lora_unet_{module.replace('.', '_')}"
        case "reference":
            return f"diffusion_model.{module}"
        case _:
            return f"transformer.{module}"


def fused(given: Pairs, shape: FluxShape = TINY) -> Pairs:
    """On the reference's layers: below each other, up is zero where another layer's rows are."""
    pieces, sizes = linear_pieces(shape), tensor_shapes(shape)
    modules: dict[str, list[str]] = {}
    for name in given:
        modules.setdefault(pieces[name].tensor, []).append(name)
    made = {}
    for tensor, names in modules.items():
        downs = np.concatenate([given[name][0] for name in names])
        ups = np.zeros((sizes[tensor][0], len(downs)), np.float16)
        column = 0
        for name in names:
            up = given[name][1]
            start = pieces[name].start_row
            ups[start : start + len(up), column : column + up.shape[1]] = up
            column += up.shape[1]
        made[tensor.removesuffix(".weight")] = downs, ups
    return made


def write(path: Path, naming: str = "peft", **options: float) -> Path:
    """Write a LoRA for TINY; options are those of pairs()."""
    return model_files.write(path, named(naming, pairs(**options)))  # type: ignore[arg-type]  # rank and seed are whole


def merged(given: Pairs, strength: float = 1.0, shape: FluxShape = TINY) -> dict[str, Array]:
    """The delta of each reference tensor, by plain matrix products in float32."""
    sizes, pieces = tensor_shapes(shape), linear_pieces(shape)
    deltas: dict[str, Array] = {}
    for name, (down, up) in given.items():
        piece = pieces[name]
        whole = deltas.setdefault(piece.tensor, np.zeros(sizes[piece.tensor], np.float32))
        product = (up.astype("f4") * np.float32(strength)) @ down.astype("f4")
        whole[piece.start_row : piece.start_row + piece.rows] += product
    return deltas


def baked(
    base: Path,
    target: Path,
    *choices: Choice | Path,
    kind: FileType = FileType.Q4_K_S,
    types: tuple[str, ...] = (),
    force: bool = False,
    workers: int = 2,
) -> list[LayerProof]:
    own = [one if isinstance(one, Choice) else Choice(one) for one in choices]
    plan = bake_plan.make(base, target, kind, own, [overrides.parse(text) for text in types])
    steps = list(bake.run(plan, workers=workers, force=force))
    return [step for step in steps if isinstance(step, LayerProof)]


def tensors(path: Path) -> dict[str, tuple[TensorType, bytes]]:
    content = path.read_bytes()
    header = gguf_file.read_header(path)
    return {t.name: (t.type, content[t.offset : t.offset + t.nbytes]) for t in header.tensors}
