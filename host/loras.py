"""LoRAs on a packed unet: peft adapters on diffusers' layers, switched and scaled per job.

:mod:`models.lora` says which rows of which reference tensor a LoRA changes; here those rows become
adapters of the diffusers layers that hold them (q, k and v of a fused tensor get a share each).
Adapters stay loaded, so changing strengths between jobs costs nothing. Base weights are never
changed.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from host.errors import RenderError
from host.flux import Unet
from host.packed import open_weights
from host.values import ModelFile
from models import flux, lora, lora_fit
from models.flux import Piece
from models.lora import LoraFile, LoraLayer

logger = logging.getLogger(__name__)

MAX_ADAPTERS = 8
"""LoRAs that stay loaded on one unet; the one unused for longest goes first."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Delta:
    """The change of one diffusers layer at strength 1: ``up @ down``."""

    down: torch.Tensor
    up: torch.Tensor

    def joined(self, other: "Delta") -> "Delta":
        """Return one change that does both."""
        return Delta(torch.cat([self.down, other.down]), torch.cat([self.up, other.up], 1))


def read(unet: Unet, file: ModelFile, *, partial: bool = False) -> LoraFile:
    """Read a LoRA and check that every key of it applies, by ComfyUI's rules.

    Args:
        unet: what it is for.
        file: the LoRA.
        partial: if only some of it applies, return just that.

    Raises:
        ModelError: it is no LoRA, or not one that can be applied.
        RenderError: keys do not apply to this unet; names them.
    """
    found = lora.read(file.path, unet.shape)
    fit = lora_fit.judge(found, flux.tensor_shapes(unet.shape))
    if not fit.findings:
        return found
    misses = fit.texts
    more = f"; and {len(misses) - _SHOWN} more" if len(misses) > _SHOWN else ""
    if partial and fit.usable_in_part:
        logger.warning("%s applies in part, %s: %s", file.path.name, fit.told, misses[0] + more)
        return replace(found, layers=fit.applied)
    raise RenderError(
        f"the LoRA does not fit {unet.path.name}",
        path=file.path,
        why="; ".join(misses[:_SHOWN]) + more,
        fix="Convert it (director.py lora convert)"
        if fit.converting_helps
        else "Use a LoRA that was trained on this model",
    )


def deltas(found: LoraFile, shape: flux.FluxShape) -> dict[str, Delta]:
    """Return the change of every diffusers layer (by module name), ComfyUI's scale included."""
    tensors = open_weights(found.path).tensors
    pieces = _pieces_by_module(shape)
    changes: dict[str, Delta] = {}
    for layer in found.layers:
        down = tensors[layer.down.name].unpack(torch.float32)
        up = tensors[layer.up.name].unpack(torch.float32) * layer.scale_in_comfyui
        for name, rows in _shares(layer, up, pieces[layer.module]):
            delta = Delta(down, rows)
            changes[name] = changes[name].joined(delta) if name in changes else delta
    return changes


def _pieces_by_module(shape: flux.FluxShape) -> dict[str, list[tuple[str, Piece]]]:
    """Return, per reference module, the diffusers modules that its rows became."""
    pieces: dict[str, list[tuple[str, Piece]]] = {}
    for name, piece in flux.diffusers_pieces(shape).items():
        if name.endswith(".weight"):
            reference = piece.tensor.removesuffix(".weight")
            pieces.setdefault(reference, []).append((name.removesuffix(".weight"), piece))
    return pieces


def _shares(
    layer: LoraLayer, up: torch.Tensor, pieces: list[tuple[str, Piece]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each diffusers module that the layer touches, with its rows of ``up``."""
    end = layer.start_row + layer.rows
    for name, piece in pieces:
        first, last = max(layer.start_row, piece.start_row), min(end, piece.start_row + piece.rows)
        if first >= last:
            continue
        rows = torch.zeros(piece.rows, up.shape[1])
        part = up[first - layer.start_row : last - layer.start_row]
        rows[first - piece.start_row : last - piece.start_row] = part
        if piece.swap_halves != layer.swap_halves:
            rows = torch.cat(rows.chunk(2)[::-1])
        yield name, rows


@dataclass(slots=True)
class Adapters:
    """The LoRAs that are loaded on one unet.

    Attributes:
        unet: the model.
        dtype: in what type LoRAs compute.
        partial: as in read().
        device: where LoRAs lie; None: where their layers do.
    """

    unet: Unet
    dtype: torch.dtype
    partial: bool = False
    device: torch.device | None = None
    _names: dict[ModelFile, str] = field(default_factory=dict)
    _layers: dict[str, LoraLinear] = field(default_factory=dict)
    _count: int = 0

    def load(self, file: ModelFile) -> None:
        """Make sure that a LoRA is loaded; it does nothing until it is activated.

        Raises:
            ModelError: it is no LoRA, or not one that can be applied.
            RenderError: keys of it do not apply.
        """
        if file in self._names:
            self._names[file] = self._names.pop(file)  # newest last
            return
        found = read(self.unet, file, partial=self.partial)
        changes = deltas(found, self.unet.shape)
        while len(self._names) >= MAX_ADAPTERS:
            self._unload(next(iter(self._names)))
        name = f"lora{self._count}"
        self._count += 1
        for module, delta in changes.items():
            self._add(module, name, delta)
        self._names[file] = name

    def activate(self, strengths: Mapping[ModelFile, float]) -> None:
        """Switch on exactly these LoRAs, each with its strength."""
        for file in strengths:
            self.load(file)
        active = {self._names[file]: strength for file, strength in strengths.items()}
        for layer in self._layers.values():
            mine = [name for name in active if name in layer.lora_A]
            layer.enable_adapters(bool(mine))
            if mine:
                layer.set_adapter(mine, inference_mode=True)
            for name in mine:
                layer.set_scale(name, active[name])

    def _add(self, module: str, name: str, delta: Delta) -> None:
        rank = delta.down.shape[0]
        # alpha == rank: the file's own scale is already in `up`.
        config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, inference_mode=True)
        layer = self._layers.get(module)
        if layer is None:
            base = self.unet.transformer.get_submodule(module)
            layer = LoraLinear(base, name, config=config, r=rank, lora_alpha=rank)
            layer.requires_grad_(requires_grad=False)
            self.unet.transformer.set_submodule(module, layer)
            self._layers[module] = layer
        else:
            layer.update_layer(name, r=rank, lora_alpha=rank, config=config)
        device = self.device or layer.get_base_layer().weight.device
        for half, weight in ((layer.lora_A, delta.down), (layer.lora_B, delta.up)):
            value = weight.to(device, self.dtype)
            half[name].weight = nn.Parameter(value, requires_grad=False)

    def _unload(self, file: ModelFile) -> None:
        name = self._names.pop(file)
        for layer in self._layers.values():
            if name in layer.lora_A:
                layer.delete_adapter(name)


def total_strengths(loras: tuple[tuple[ModelFile, float], ...]) -> dict[ModelFile, float]:
    """Return the strength of each file; the same file twice in a stack adds up."""
    totals: dict[ModelFile, float] = {}
    for file, strength in loras:
        totals[file] = totals.get(file, 0.0) + strength
    return {file: strength for file, strength in totals.items() if strength != 0.0}
