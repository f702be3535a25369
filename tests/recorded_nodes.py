"""What the nodes of a real ComfyUI 0.3.64 declared and answered, recorded for comparison."""

import gzip
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

FOLDER = Path(__file__).parent / "data" / "comfyui_nodes"
PICTURES = FOLDER / "pictures"

Array = npt.NDArray[np.float32]


@cache
def declarations() -> Mapping[str, Any]:
    """Return ``object_info`` of the recorded nodes, by class_type."""
    return dict(json.loads((FOLDER / "0.3.64.json").read_text()))


@cache
def numbers() -> Mapping[str, Array]:
    """Return inputs and results: ``class_type/argument/.../output``."""
    return load(gzip.decompress((FOLDER / "numbers.safetensors.gz").read_bytes()))


def calls(node: str) -> list[tuple[str, ...]]:
    """Return the arguments of each recorded call of a node."""
    prefix = f"{node}/"
    keys = [key.removeprefix(prefix).split("/") for key in numbers() if key.startswith(prefix)]
    return sorted({tuple(parts[:-1]) for parts in keys if parts[-1] == "0"})


def answer(node: str, *arguments: str, output: int | str = 0) -> Array:
    """Return one output of a recorded call."""
    return numbers()["/".join([node, *arguments, str(output)])]


def given(index: int) -> Array:
    """Return what the calls were made with.

    0 and 1 are pictures (2 of 10 x 7, 1 of 12 x 5), 2 a latent, 3 a mask, 4 two masks.
    """
    return answer("given", output=index)
