"""The sizes of a base model, whatever file it is in: GGUF, safetensors, sharded, a folder.

Headers only. The marks and scales of scaled FP8 are passed over: they are no layers.
"""

from collections.abc import Mapping
from pathlib import Path

from models import checkpoint, flux, flux_layouts, gguf_file
from models.errors import ModelError
from models.flux import FluxShape

_WEIGHTS = (".weight", ".bias", ".scale")


def read(path: Path) -> FluxShape:
    """Read the sizes of a FLUX.1, in either layout.

    Raises:
        ModelError: it cannot be read, is damaged, or no FLUX.1.
    """
    stored = _shapes(path)
    inside = {
        name: stored[own]
        for name, own in flux.reference_names(stored).items()
        if name.endswith(_WEIGHTS)
    }
    try:
        return flux_layouts.assemble(inside).shape
    except ModelError as error:
        raise error.about(path) from error


def _shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    if path.suffix == ".gguf":
        return gguf_file.read_header(path).shapes
    return {name: one.info.shape for name, one in checkpoint.read(path).tensors.items()}
