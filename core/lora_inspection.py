"""What there is to know about one LoRA file, collected: for `lora inspect` and `lora check`.

Also where a file cannot be applied (DoRA, LyCORIS): then its metadata and hashes, and the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import lora as lora_file
from models import lora_fit, lora_hashes, lora_metadata, lora_readers, safetensors_file
from models.errors import ModelError
from models.flux import FluxShape, diffusers_pieces, tensor_shapes
from models.lora import LoraFile
from models.lora_fit import Fit
from models.lora_hashes import LoraHashes
from models.lora_metadata import About

if TYPE_CHECKING:
    from quantize.lora_norms import LayerNorm


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file that can be applied.

    Attributes:
        lora: resolved against the base, or the guess of it.
        fit: how it fits.
        norms: size of each layer's change, in the order of the layers.
        warnings: what is odd.
    """

    lora: LoraFile
    fit: Fit
    norms: "tuple[LayerNorm, ...]"
    warnings: tuple[str, ...]

    @property
    def bad(self) -> tuple[str, ...]:
        """Names of the matrices that hold NaN or infinity."""
        return tuple(name for norm in self.norms for name in norm.bad)

    @property
    def sound(self) -> bool:
        """Whether all of it applies, with finite numbers."""
        return not self.fit.findings and not self.bad

    @property
    def reasons(self) -> list[str]:
        """Why it is not sound, in sentences."""
        return [*(f"{name} holds NaN or infinity" for name in self.bad), *self.fit.texts]


@dataclass(frozen=True, slots=True)
class Identity:
    """What can be said of any safetensors file: how it was made, and its hashes."""

    path: Path
    nbytes: int
    about: About
    trigger_words: tuple[str, ...]
    hashes: LoraHashes

    @property
    def recorded_hash_differs(self) -> bool:
        """Whether the trainer wrote down another hash: the tensors were changed since."""
        return self.about.recorded_hash.lower().removeprefix("0x") not in ("", self.hashes.tensors)


def identify(path: Path) -> Identity:
    """Read metadata and hash the file.

    Raises:
        ModelError: it is no safetensors file, or damaged.
        OSError: it cannot be read.
    """
    header = safetensors_file.read_header(path)
    return Identity(
        path,
        path.stat().st_size,
        lora_metadata.read(header.metadata),
        lora_metadata.trigger_words(header.metadata),
        lora_hashes.of(path),
    )


def inspect(path: Path, shape: FluxShape | None) -> Inspection:
    """Resolve a LoRA and measure it.

    Args:
        path: the file.
        shape: of the base, or None to guess it.

    Raises:
        ModelError: it is no LoRA that can be applied.
        OSError: it cannot be read.
    """
    from quantize import lora_norms  # brings numpy

    lora = lora_file.read(path, shape)
    return Inspection(
        lora,
        lora_fit.judge(lora, tensor_shapes(lora.shape)),
        tuple(lora_norms.measure(lora)),
        (*lora_fit.warnings(lora), *lora_readers.differences(lora)),
    )


def facts(found: Inspection) -> dict[str, Any]:
    """The inspection as one JSON object's entries; NaN and infinity as null."""
    lora = found.lora
    return {
        "naming": lora.family,
        "namings": list(lora.families),
        "ranks": sorted({layer.rank for layer in lora.layers}),
        "scales": sorted({layer.scale for layer in lora.layers if _finite(layer.scale)}),
        "layers": list(_layer_facts(found)),
        "text_encoder_keys": len(lora.text_encoder),
        "unmatched": list(lora.unmatched),
        "comfyui_applies": len(found.fit.applied),
        "diffusers_applies": len(found.fit.in_diffusers),
        "not_finite": list(found.bad),
        "findings": found.reasons,
        "warnings": list(found.warnings),
    }


def identity_facts(identity: Identity) -> dict[str, Any]:
    """The identity as one JSON object's entries."""
    about = identity.about
    return {
        "file": str(identity.path),
        "bytes": identity.nbytes,
        "base": about.base,
        "title": about.title,
        "author": about.author,
        "made_by": about.made_by,
        "date": about.date,
        "steps": about.steps,
        "epochs": about.epochs,
        "images": about.images,
        "resolution": about.resolution,
        "trigger_words": list(identity.trigger_words),
        "tags": dict(about.tags),
        "sha256": identity.hashes.file,
        "autov2": identity.hashes.autov2,
        "tensors_sha256": identity.hashes.tensors,
        "autov3": identity.hashes.autov3,
        "recorded_hash": about.recorded_hash,
    }


def refused(path: Path, shape: FluxShape | None) -> tuple[Inspection | None, str]:
    """Inspect a LoRA; or nothing, and why it cannot be applied."""
    try:
        return inspect(path, shape), ""
    except ModelError as error:
        return None, str(ModelError(error.what, why=error.why, fix=error.fix))


def _layer_facts(found: Inspection) -> Iterator[dict[str, Any]]:
    names = _modules(found.lora.shape)
    for measured in found.norms:
        layer = measured.layer
        place = (layer.module, layer.start_row, layer.rows)
        yield {
            "module": layer.module,
            "start_row": layer.start_row,
            "rows": layer.rows,
            "diffusers": names.get(place),
            "rank": layer.rank,
            "alpha": layer.alpha if layer.alpha is None or _finite(layer.alpha) else None,
            "scale": layer.scale if _finite(layer.scale) else None,
            "dtype": layer.up.dtype,
            "norm": measured.norm if _finite(measured.norm) else None,
            "keys": [layer.down.name, layer.up.name],
        }


def _modules(shape: FluxShape) -> dict[tuple[str, int, int], str]:
    return {
        (piece.tensor.removesuffix(".weight"), piece.start_row, piece.rows): name.removesuffix(
            ".weight"
        )
        for name, piece in diffusers_pieces(shape).items()
    }


def _finite(number: float) -> bool:
    return abs(number) < float("inf")
