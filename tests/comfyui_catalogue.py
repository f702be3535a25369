"""What a real ComfyUI 0.3.64 with ComfyUI-GGUF offers, recorded, for tests that need its nodes.

The recording leaves out the nodes of paid services and has no model files in its lists.
"""

import gzip
import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from bridge.catalogue import Catalogue

RECORDED = Path(__file__).parent / "data" / "transcripts" / "object_info.json.gz"


@cache
def _recorded() -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(RECORDED.read_bytes())))


def object_info() -> dict[str, Any]:
    """Return the recorded answer of ``GET /object_info``."""
    return deepcopy(_recorded())


def object_info_with(**files: list[str]) -> dict[str, Any]:
    """Return the recorded answer; ``files`` are what some inputs list (``unet_name=[...]``)."""
    info = object_info()
    for node in info.values():
        for group in ("required", "optional"):
            for name, entry in node["input"].get(group, {}).items():
                if name in files and isinstance(entry[0], list):
                    entry[0] = files[name]
    return info


def catalogue(**files: list[str]) -> Catalogue:
    """Return the catalogue; ``files`` are what some inputs list (``unet_name=[...]``)."""
    return Catalogue.read(object_info_with(**files))
