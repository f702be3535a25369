"""LoRA files in every naming, and the change that each means: written by hand, not by our code."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.flux import FluxShape, diffusers_pieces, tensor_shapes
from models.lora import LoraFile
from tests.model_files import Array

# As small as may be, and with the ratio of the MLP that diffusers' class has fixed.
MINI = FluxShape(
    hidden=32,
    heads=2,
    double_blocks=2,
    single_blocks=2,
    in_channels=16,
    context=24,
    pooled=8,
    mlp=128,
    guidance=True,
    out_channels=16,
)
SHAPES = tensor_shapes(MINI)

AB = (".lora_A.weight", ".lora_B.weight")
DEFAULT = (".lora_A.default.weight", ".lora_B.default.weight")
OLD = (".lora.down.weight", ".lora.up.weight")
DOWN_UP = (".lora_down.weight", ".lora_up.weight")
XLABS = (".down.weight", ".up.weight")

Deltas = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Place:
    """Rows of a reference tensor."""

    tensor: str
    start: int
    rows: int
    swap: bool = False


@dataclass(frozen=True, slots=True)
class Naming:
    """A way to write a LoRA."""

    prefix: str
    modules: str  # diffusers, reference or xlabs
    flat: bool = False
    ends: tuple[str, str] = AB

    def stems(self, shape: FluxShape = MINI) -> dict[str, Place]:
        """Name of every linear layer that can be written so, and the rows that it means."""
        found = _modules(self.modules, shape)
        return {
            self.prefix + (name.replace(".", "_") if self.flat else name): place
            for name, place in found.items()
        }


NAMINGS: Mapping[str, Naming] = {
    "peft": Naming("transformer.", "diffusers"),
    "peft default": Naming("transformer.", "diffusers", ends=DEFAULT),
    "peft down up": Naming("transformer.", "diffusers", ends=DOWN_UP),
    "diffusers_old": Naming("transformer.", "diffusers", ends=OLD),
    "diffusers_bare": Naming("", "diffusers"),
    "peft_raw": Naming("base_model.model.", "diffusers"),
    "peft_raw reference": Naming("base_model.model.", "reference"),
    "diffusers_mixed": Naming("diffusion_model.", "diffusers"),
    "onetrainer": Naming("lora_transformer_", "diffusers", True, DOWN_UP),
    "lycoris": Naming("lycoris_", "diffusers", True, DOWN_UP),
    "reference": Naming("diffusion_model.", "reference"),
    "reference down up": Naming("diffusion_model.", "reference", ends=DOWN_UP),
    "reference_bare": Naming("", "reference"),
    "kohya": Naming("lora_unet_", "reference", True, DOWN_UP),
    "xlabs": Naming("", "xlabs", ends=XLABS),
    "xlabs prefixed": Naming("diffusion_model.", "xlabs", ends=XLABS),
}
# What ComfyUI's own key map has (tests/data/comfyui_lora_keys.json).
IN_COMFYUI = (
    *("peft", "peft default", "peft down up", "diffusers_old", "onetrainer", "lycoris"),
    *("reference", "reference down up", "kohya"),
)


def _modules(kind: str, shape: FluxShape) -> dict[str, Place]:
    sizes = tensor_shapes(shape)
    if kind == "xlabs":
        return dict(_xlabs(shape))
    if kind == "reference":
        return {
            name.removesuffix(".weight"): Place(name, 0, size[0])
            for name, size in sizes.items()
            if len(size) == 2
        }
    return {
        name.removesuffix(".weight"): Place(
            piece.tensor, piece.start_row, piece.rows, piece.swap_halves
        )
        for name, piece in diffusers_pieces(shape).items()
        if len(sizes[piece.tensor]) == 2
    }


def _xlabs(shape: FluxShape) -> Iterator[tuple[str, Place]]:
    for index in range(shape.double_blocks):
        at, to = f"double_blocks.{index}.processor", f"double_blocks.{index}"
        for number, stream in (("1", "img"), ("2", "txt")):
            qkv = Place(f"{to}.{stream}_attn.qkv.weight", 0, 3 * shape.hidden)
            yield f"{at}.qkv_lora{number}", qkv
            yield (
                f"{at}.proj_lora{number}",
                Place(f"{to}.{stream}_attn.proj.weight", 0, shape.hidden),
            )
    for index in range(shape.single_blocks):
        at, to = f"single_blocks.{index}.processor", f"single_blocks.{index}"
        yield f"{at}.qkv_lora", Place(f"{to}.linear1.weight", 0, 3 * shape.hidden)
        yield f"{at}.proj_lora", Place(f"{to}.linear2.weight", 0, shape.hidden)


def weights(
    naming: Naming,
    stems: Mapping[str, Place],
    *,
    rank: int = 4,
    alpha: float | None = None,
    dtype: type = np.float32,
    seed: int = 0,
    shape: FluxShape = MINI,
) -> dict[str, Array]:
    """Random matrices for these stems."""
    stream, sizes = np.random.default_rng(seed), tensor_shapes(shape)
    arrays: dict[str, Array] = {}
    for stem, place in stems.items():
        down = stream.standard_normal((rank, sizes[place.tensor][1]))
        up = stream.standard_normal((place.rows, rank))
        arrays[stem + naming.ends[0]] = down.astype(dtype)
        arrays[stem + naming.ends[1]] = up.astype(dtype)
        if alpha is not None:
            arrays[f"{stem}.alpha"] = np.array(alpha, dtype)
    return arrays


def meant(
    naming: Naming, arrays: Mapping[str, Array], shape: FluxShape = MINI, scale: float = 1.0
) -> Deltas:
    """The change of every reference tensor that these arrays mean, in float64.

    `scale` counts where there is no alpha.
    """
    deltas: Deltas = {}
    for stem, place in naming.stems(shape).items():
        if stem + naming.ends[1] in arrays:
            down = arrays[stem + naming.ends[0]].astype(np.float64)
            up = arrays[stem + naming.ends[1]].astype(np.float64)
            alpha = arrays.get(f"{stem}.alpha")
            factor = scale if alpha is None else alpha.item() / len(down)
            _add(deltas, place, factor * (up @ down), shape)
    return deltas


def of_layers(lora: LoraFile) -> Deltas:
    """The change of every reference tensor, as models.lora resolved the file."""
    arrays, deltas = load_file(lora.path), Deltas()
    for layer in lora.layers:
        down, up = (arrays[info.name].astype(np.float64) for info in (layer.down, layer.up))
        place = Place(f"{layer.module}.weight", layer.start_row, layer.rows, layer.swap_halves)
        _add(deltas, place, layer.scale * (up @ down), lora.shape)
    return deltas


def of_converted(path: Path, shape: FluxShape = MINI) -> Deltas:
    """The change that a file in the common naming makes: no alphas, no metadata, scale 1."""
    arrays = load_file(path)
    ours = ("transformer.", "lora_te", "text_encoder")
    assert not [key for key in arrays if not key.startswith(ours)]
    assert not [key for key in arrays if key.startswith("transformer.") and "alpha" in key]
    return meant(NAMINGS["peft"], arrays, shape)


def _add(deltas: Deltas, place: Place, change: NDArray[np.float64], shape: FluxShape) -> None:
    whole = deltas.setdefault(place.tensor, np.zeros(tensor_shapes(shape)[place.tensor]))
    if place.swap:
        half = len(change) // 2
        change = np.concatenate([change[half:], change[:half]])
    whole[place.start : place.start + place.rows] += change


def assert_same(one: Deltas, other: Deltas, tolerance: float = 1e-6) -> None:
    """The same tensors change, by the same within a share of the largest number."""
    assert one.keys() == other.keys()
    for name, delta in one.items():
        largest = max(np.abs(delta).max(), 1e-30)
        assert np.abs(delta - other[name]).max() <= tolerance * largest, name
