"""What a baked file says of itself, in its metadata: one JSON text under KEY.

    key       of everything the file was made from: the same key means the same weights
    source    the base's file name and fingerprint (models/fingerprint.py)
    type      the file type
    loras     file, sha256, strength and trigger words of each
    layers    of each changed tensor: kept, error, size, noise (layer_proof.py), planned type

A header's length has to be known before the weights are, so the text is padded with spaces to the
longest that it can become; JSON does not mind. Other programs ignore the key.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from models import gguf_file
from models.errors import ModelError
from models.tensor_types import FileType, TensorType
from quantize.layer_proof import Attempt, LayerProof
from quantize.lora_delta import Ingredient

KEY = "vulcan.baked"
VERSION = 1  # counts up when the same ingredients give other weights
_LONGEST = -9999.9999
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class BakeRecord:
    """Everything about a bake that is known before it starts.

    Attributes:
        source: file or folder name of the base.
        fingerprint: of the base.
        file_type: the recipe.
        ingredients: the LoRAs, in their order.
        types: the type that is planned for each tensor.
        pinned: tensors whose type the user chose.
    """

    source: str
    fingerprint: str
    file_type: FileType
    ingredients: tuple[Ingredient, ...]
    types: Mapping[str, TensorType]
    pinned: frozenset[str]

    @property
    def key(self) -> str:
        """A hash, in hex, of all that the weights depend on."""
        parts = [
            VERSION,
            self.fingerprint,
            self.file_type.name,
            [[one.sha256, one.choice.strength] for one in self.ingredients],
            [[name, kind.name, name in self.pinned] for name, kind in self.types.items()],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def text(self, proofs: Iterable[LayerProof]) -> str:
        """The metadata, padded to `length`."""
        layers = {
            proof.name: _entry(
                self.types[proof.name], proof.last.kept, proof.last.error, proof.size, proof.noise
            )
            for proof in proofs
        }
        return self._json(layers).ljust(self.length)

    @property
    def length(self) -> int:
        """The characters, all ASCII, of the longest that it can become."""
        names = {f"{layer.module}.weight" for o in self.ingredients for layer in o.file.layers}
        longest = [_LONGEST] * 4
        return len(self._json({name: _entry(self.types[name], *longest) for name in names}))

    def _json(self, layers: Mapping[str, Sequence[Any]]) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "key": self.key,
                "source": {"file": self.source, "fingerprint": self.fingerprint},
                "type": self.file_type.name,
                "loras": [_told(one) for one in self.ingredients],
                "layers": layers,
            }
        )


def _entry(planned: TensorType, *numbers: float) -> list[Any]:
    return [*map(_number, numbers), planned.name]


def _number(value: float) -> float:
    """Rounded, and never longer than room was left for."""
    bounded = min(max(value, _LONGEST), -_LONGEST) if math.isfinite(value) else _LONGEST
    return round(bounded, _DIGITS)


def _told(one: Ingredient) -> dict[str, Any]:
    return {
        "file": printable(one.choice.path),
        "sha256": one.sha256,
        "strength": one.choice.strength,
        "trigger_words": list(one.file.trigger_words),
    }


def printable(path: Path) -> str:
    """A file's name; bytes that are no text become question marks."""
    return os.fsencode(path.name).decode("utf-8", "replace")


# --- reading it back ------------------------------------------------------------------------------


class _Lora(BaseModel):
    file: str
    sha256: str
    strength: float
    trigger_words: list[str] = []


class _Record(BaseModel):
    version: int
    key: str
    type: str
    loras: list[_Lora]
    layers: dict[str, tuple[float, float, float, float, str]]


@dataclass(frozen=True, slots=True)
class BakedFile:
    """A file that was baked.

    Attributes:
        key: of what it was made from.
        proofs: of its layers; of several attempts, the one that was planned has no numbers.
    """

    key: str
    proofs: tuple[LayerProof, ...]


def read(path: Path) -> BakedFile | None:
    """What a file says of itself; None if it cannot be read, or was not baked."""
    try:
        header = gguf_file.read_header(path)
        record = _Record.model_validate_json(str(header.metadata.get(KEY, "")))
        types = {tensor.name: tensor.type for tensor in header.tensors}
        proofs = (_proof(name, types[name], *record.layers[name]) for name in record.layers)
        return BakedFile(record.key, tuple(proofs))
    except (ModelError, ValidationError, KeyError):
        return None


def _proof(
    name: str, kind: TensorType, kept: float, error: float, size: float, noise: float, planned: str
) -> LayerProof:
    last = Attempt(kind, kept, error)
    first = () if planned == kind.name else (Attempt(TensorType[planned], math.nan, math.nan),)
    return LayerProof(name, size, noise, (*first, last))
