"""What a comparison says of the weights alone: each tensor, each layer that LoRAs change."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.report_files import Baked
from models import gguf_file
from quantize import requantised, verify
from quantize.layer_proof import LayerProof
from quantize.verify import TensorError


@dataclass(frozen=True, slots=True)
class Weights:
    """What is said.

    Attributes:
        errors: of every tensor of the quantised file, against the source.
        proofs: of every layer that the LoRAs change, in the baked file.
        wrong_way: by layer, the share of the LoRAs that would be left if they were added to the
            quantised file instead.
    """

    errors: Sequence[TensorError]
    proofs: Sequence[LayerProof]
    wrong_way: Mapping[str, float]


def measure(packed: Path, source: Path, baked: Baked | None) -> Weights:
    """Compare.

    Args:
        packed: the quantised file without LoRAs.
        source: what it was made of.
        baked: the one with LoRAs.

    Raises:
        QuantizeError, ModelError: a file cannot be read.
    """
    header = gguf_file.read_header(packed)
    errors = list(verify.compare(header, source, workers=os.cpu_count() or 1))
    if baked is None:
        return Weights(errors, (), {})
    return Weights(errors, baked.proofs, dict(requantised.kept(header, baked.plan.mix)))
