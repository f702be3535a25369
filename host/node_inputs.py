"""Short forms for declaring the inputs of nodes, so that the table reads like one.

Each returns an :class:`~host.node_types.Input` or a part of it. Which node has which inputs is the
table's business (:mod:`host.nodes`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from host.folders import MODEL_KINDS, Folders, is_file
from host.node_types import Choices, Fingerprint, Input
from host.values import stamp

MAX_SIZE = 16384
"""Largest width and height, in pixels; ComfyUI's."""


def integer(name: str, default: int, low: int, high: int, **more: Any) -> Input:
    """Declare an INT with its limits."""
    return Input(name, "INT", {"default": default, "min": low, "max": high, **more})


def number(name: str, default: float, low: float, high: float, **more: Any) -> Input:
    """Declare a FLOAT with its limits."""
    return Input(name, "FLOAT", {"default": default, "min": low, "max": high, **more})


def latent_size(name: str, default: int, step: int) -> Input:
    """Declare a latent's width or height in pixels."""
    tip = f"The {name} of the latent images in pixels."
    return integer(name, default, 16, MAX_SIZE, step=step, tooltip=tip)


BATCH_SIZE = integer("batch_size", 1, 1, 4096)
"""How many pictures at once, where ComfyUI says no more about it."""


def combo(name: str, choices: Choices, tip: str = "", *, required: bool = True) -> Input:
    """Declare a choice among values."""
    return Input(name, "COMBO", {"tooltip": tip} if tip else {}, choices, required)


def wire(name: str, kind: str, tip: str = "") -> Input:
    """Declare an input that must be linked."""
    return Input(name, kind, {"tooltip": tip} if tip else {})


def fixed(*values: str) -> Choices:
    """Return choices that never change."""
    return lambda folders: list(values)


def files(*kinds: str) -> Choices:
    """Return the model files of some kinds as choices, read from disk each time."""

    def names(folders: Folders) -> list[str]:
        found = {name for kind in kinds for name in folders.names(kind)}
        return sorted(found, key=str.casefold)

    return names


def input_pictures(folders: Folders) -> list[str]:
    """Return the pictures of the input folder as choices."""
    return folders.pictures()


def input_files(folders: Folders) -> list[str]:
    """Return all files of the input folder as choices."""
    return folders.inputs()


def picture_exists(folders: Folders, name: Any) -> str:
    """Check the name of a picture: complain in ComfyUI's words if there is no such file.

    ComfyUI lets folders and files outside of its own pass; here they are no pictures.
    """
    path = folders.annotated(name) if isinstance(name, str) else None
    return "" if path is not None and is_file(path) else f"Invalid image file: {name}"


def content(name: str) -> Fingerprint:
    """Return a fingerprint over the bytes of the picture that this input names."""

    def fingerprint(folders: Folders, inputs: Mapping[str, Any]) -> str:
        value = inputs.get(name)
        path = folders.annotated(value) if isinstance(value, str) else None
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""
        except OSError:  # gone since it was checked; the node says so
            return ""

    return fingerprint


def stamps(**kinds: tuple[str, ...]) -> Fingerprint:
    """Return a fingerprint over the files that these inputs name, each of one of these kinds."""

    def fingerprint(folders: Folders, inputs: Mapping[str, Any]) -> str:
        paths = [
            folders.models / subfolder / str(inputs.get(name))
            for name, allowed in kinds.items()
            for kind in allowed
            for subfolder in MODEL_KINDS[kind][0]
        ]
        return " ".join(stamp(path) for path in paths)

    return fingerprint
