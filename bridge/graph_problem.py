"""What keeps a host from running a graph, one sentence each. Pure: words and nothing else.

Each says what is wrong, at which node, and what to do about it.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.catalogue import NodeInput, folded

GGUF_NODES = frozenset(
    {
        "UnetLoaderGGUF",
        "UnetLoaderGGUFAdvanced",
        "CLIPLoaderGGUF",
        "DualCLIPLoaderGGUF",
        "TripleCLIPLoaderGGUF",
        "QuadrupleCLIPLoaderGGUF",
    }
)
GGUF_SOURCE = "https://github.com/city96/ComfyUI-GGUF"
# Where a host looks for the files of an input, below its folder of models.
FOLDERS = {
    "unet_name": "unet (or diffusion_models)",
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "model_name": "upscale_models",
}
WEIGHTS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
SHOWN = 6  # choices in one sentence


class Kind(StrEnum):
    """What a problem is about."""

    NODE = "node"
    MODEL = "model"
    VALUE = "value"
    LINK = "link"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that the host would refuse.

    Attributes:
        node: id, empty where the whole graph is meant.
        class_type: of the node, empty where it has none.
        input: name of the input, empty where the node is meant.
        kind: what it is about.
        what: what is wrong.
        fix: what to do.
    """

    node: str
    class_type: str
    input: str
    kind: Kind
    what: str
    fix: str

    def __str__(self) -> str:
        where = f"node {self.node} ({self.class_type or 'no class_type'}): " if self.node else ""
        return f"{where}{self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class At:
    """A node, or one of its inputs, that problems are reported of."""

    node: str
    class_type: str
    input: str = ""

    def problem(self, kind: Kind, what: str, fix: str) -> Problem:
        """Return a problem here."""
        return Problem(self.node, self.class_type, self.input, kind, what, fix)

    def unknown_type(self, known: Iterable[str]) -> Problem:
        """Return that the host has no such node type."""
        near = difflib.get_close_matches(self.class_type, list(known), n=3, cutoff=0.7)
        hint = f"it has {' and '.join(near)}; " if near else ""
        source = (
            f"install ComfyUI-GGUF there ({GGUF_SOURCE}) and restart it"
            if self.class_type in GGUF_NODES
            else "install the extension that brings it (in ComfyUI's Manager: Install Missing "
            "Custom Nodes) and restart it, or use another workflow"
        )
        return self.problem(Kind.NODE, "the host has no such node type", hint + source)

    def missing(self, declared: NodeInput) -> Problem:
        """Return that a required input is not there."""
        link = declared.type not in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
        return self.problem(
            Kind.LINK if link else Kind.VALUE,
            f"required input {self.input} ({declared.type}) is missing",
            "connect it in ComfyUI and export again" if link else "set it and export again",
        )

    def broken_link(self, value: Any, why: str) -> Problem:
        """Return that a link leads nowhere."""
        what = f"input {self.input} is linked to {_short(value)}, {why}"
        return self.problem(Kind.LINK, what, "connect it again in ComfyUI and export")

    def wrong_type(self, received: str, declared: NodeInput, source: str) -> Problem:
        """Return that a link brings another type than the input takes."""
        what = f"input {self.input} takes {declared.type}, and node {source} gives {received}"
        return self.problem(Kind.LINK, what, "connect it to an output of that type")

    def not_convertible(self, value: Any, declared: NodeInput) -> Problem:
        """Return that a value cannot become what the input takes."""
        what = f"input {self.input} is {_short(value)}, which is no {declared.type}"
        return self.problem(Kind.VALUE, what, f"give it a value of type {declared.type}")

    def out_of_range(self, value: Any, limit: str) -> Problem:
        """Return that a value is too small or too large; ``limit`` says what would do."""
        what = f"input {self.input} is {_short(value)}, the host takes {limit}"
        return self.problem(Kind.VALUE, what, "change it in the prompt file or the workflow")

    def not_listed(self, value: Any, choices: tuple[Any, ...]) -> Problem:
        """Return that a value is none of a combo's: a file that is not there, or a wrong word."""
        what = f"input {self.input} is {_short(value)}, which the host does not list"
        offered = [str(choice) for choice in choices]
        if not is_file(value) and self.input not in FOLDERS:
            return self.problem(Kind.VALUE, what, f"use one of: {_choices(str(value), offered)}")
        folder = FOLDERS.get(self.input)
        place = f"its models/{folder} folder" if folder else "the host's folder for such files"
        other = _nearest_file(str(value), offered)
        there = f"; or use {other}, which it has" if other else "; it has none there yet"
        there = "" if offered and not other else there
        return self.problem(Kind.MODEL, what, f"copy it to {place}{there}")


def is_file(value: Any) -> bool:
    """Return whether a combo's value looks like a model file."""
    return isinstance(value, str) and value.lower().endswith(WEIGHTS)


def _nearest_file(value: str, offered: list[str]) -> str:
    ours = folded(value)
    same = [name for name in offered if folded(name).rsplit("/")[-1] == ours.rsplit("/")[-1]]
    return next(iter(same or difflib.get_close_matches(value, offered, n=1)), "")


def _choices(value: str, offered: list[str]) -> str:
    near = difflib.get_close_matches(value, offered, n=SHOWN, cutoff=0.5)
    shown = list(dict.fromkeys([*near, *offered]))[:SHOWN]
    more = f" and {len(offered) - len(shown)} more" if len(offered) > len(shown) else ""
    return ", ".join(shown) + more if shown else "nothing, its list is empty"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
