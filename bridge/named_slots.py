"""Slots that the user named, which win over those found by walking.

Three ways, all of them data::

    a node titled `vulcan:steps` in ComfyUI's editor (the API export keeps titles)
    a node titled `vulcan:strength=blend_factor`, or `vulcan:width=w, height=h`
    a file NAME.toml beside NAME.json:   [slots]   seed = "25.noise_seed"

The file's names are written into the graph itself, as ``_meta.vulcan``, when it is loaded: so
they travel with the graph, into the picture too, and nothing else needs the file. Hosts ignore
``_meta``. What this file refuses to know: what is done with a slot.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from bridge.errors import WorkflowError
from bridge.graph import Place, Workflow, holder, inputs, is_link, reference

MARK = "vulcan"
_TITLE = re.compile(r"\s*vulcan\s*:\s*(.*)", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"\s*([\w.-]+)\s*(?:=\s*([^\s=]+)\s*)?")


class Slot(StrEnum):
    """The slots that every workflow may have; all other names are a workflow's own."""

    PROMPT = "prompt"
    NEGATIVE = "negative"
    SEED = "seed"
    WIDTH = "width"
    HEIGHT = "height"
    BATCH = "batch"
    STEPS = "steps"
    GUIDANCE = "guidance"
    CFG = "cfg"
    SAMPLER = "sampler"
    SCHEDULER = "scheduler"
    DENOISE = "denoise"
    IMAGE = "image"
    LORA = "lora"
    UNET = "unet"
    CLIP_L = "clip_l"
    T5 = "t5"
    VAE = "vae"
    PREFIX = "prefix"


STANDARD = frozenset(Slot)

TEXT_INPUTS = ("text", "prompt", "clip_l", "t5xxl", "text_g", "text_l")

# What nodes call the input that a slot fills, the usual name first.
INPUTS: Mapping[Slot, tuple[str, ...]] = {
    Slot.PROMPT: TEXT_INPUTS,
    Slot.NEGATIVE: TEXT_INPUTS,
    Slot.SEED: ("seed", "noise_seed"),
    Slot.WIDTH: ("width",),
    Slot.HEIGHT: ("height",),
    Slot.BATCH: ("batch_size", "amount"),
    Slot.STEPS: ("steps",),
    Slot.GUIDANCE: ("guidance",),
    Slot.CFG: ("cfg", "cfg_conds"),
    Slot.SAMPLER: ("sampler_name",),
    Slot.SCHEDULER: ("scheduler",),
    Slot.DENOISE: ("denoise",),
    Slot.IMAGE: ("image",),
    Slot.LORA: ("lora_name",),
    Slot.UNET: ("unet_name",),
    Slot.CLIP_L: ("clip_name1",),
    Slot.T5: ("clip_name2",),
    Slot.VAE: ("vae_name",),
    Slot.PREFIX: ("filename_prefix",),
}

ANY = (str, int, float, bool)


def named(graph: Workflow, name: str) -> dict[str, tuple[Place, ...]]:
    """Return the named slots of a graph; the file beside it wins over titles.

    Args:
        graph: the workflow.
        name: the workflow's, for complaints.

    Raises:
        WorkflowError: a title that cannot be read, or that does not say which input it means.
    """
    found: dict[str, tuple[Place, ...]] = {}
    for node, entry in graph.items():
        for slot, places in _titled(graph, node, entry, name):
            found[slot] = found.get(slot, ()) + places
    return found | _marked(graph)


def mark(graph: Workflow, slots: Mapping[str, Any], name: str) -> None:
    """Write the slots of a file beside the workflow into the graph.

    Args:
        graph: the workflow, changed in place.
        slots: slot -> ``node.input``, or a list of them.
        name: the workflow's, for complaints.

    Raises:
        WorkflowError: something else than that, or a node or input that is not there.
    """
    places: dict[str, dict[str, list[str]]] = {}
    for slot, wanted in slots.items():
        for text in wanted if isinstance(wanted, list) else [wanted]:
            place = reference(graph, text) if isinstance(text, str) else None
            if place is None:
                raise WorkflowError(
                    name,
                    f"{name}.toml says that slot {slot} is {text!r}, which is no input of a node "
                    'here; write it as "node.input", for example "25.noise_seed"',
                )
            places.setdefault(place.node, {}).setdefault(slot, []).append(place.input)
    for node, marks in places.items():
        graph[node].setdefault("_meta", {})[MARK] = marks


def _marked(graph: Workflow) -> dict[str, tuple[Place, ...]]:
    """Return what :func:`mark` wrote; anything else of that name is not ours and is left alone."""
    found: dict[str, tuple[Place, ...]] = {}
    for node, entry in graph.items():
        marks = _meta(entry).get(MARK)
        for slot, names in marks.items() if isinstance(marks, dict) else ():
            listed = names if isinstance(names, list) else []
            places = [Place(node, name) for name in listed if name in list(inputs(graph, node))]
            written = tuple(_kept(graph, place, slot) or place for place in places)
            found[slot] = found.get(slot, ()) + written
    return {slot: places for slot, places in found.items() if places}


def _titled(
    graph: Workflow, node: str, entry: Mapping[str, Any], name: str
) -> list[tuple[str, tuple[Place, ...]]]:
    title = _TITLE.fullmatch(str(_meta(entry).get("title", "")))
    if title is None:
        return []
    parts = [(_PART.fullmatch(part), part) for part in title[1].split(",")]
    for read, part in parts:
        if read is None:
            raise WorkflowError(
                name,
                f"node {node} is titled vulcan:{title[1]}, and {part.strip()!r} names no slot; "
                "write vulcan:SLOT or vulcan:SLOT=input",
            )
    return [(read[1], _places(graph, node, read[1], read[2], name)) for read, _ in parts if read]


def _places(
    graph: Workflow, node: str, slot: str, wanted: str | None, name: str
) -> tuple[Place, ...]:
    """Return the inputs that a title means, followed to where their values are written."""
    names = [wanted] if wanted else _usual(inputs(graph, node), slot)
    places = [Place(node, one) for one in names if one in inputs(graph, node)]
    written = [_kept(graph, place, slot) for place in places]
    if not written or None in written:
        raise WorkflowError(
            name,
            f"node {node} is titled vulcan:{slot}, but it is not clear which input is meant; "
            f"title it vulcan:{slot}=INPUT, with one of: {', '.join(inputs(graph, node))}",
        )
    return tuple(place for place in written if place is not None)


def _kept(graph: Workflow, place: Place, slot: str) -> Place | None:
    """Return where an input's value is kept; a prefix belongs to its own node, never to others."""
    return place if slot == Slot.PREFIX else holder(graph, place, ANY)


def _usual(values: Mapping[str, Any], slot: str) -> list[str]:
    standard = INPUTS[Slot(slot)] if slot in STANDARD else (slot,)
    here = [one for one in standard if one in values]
    if here:
        return here if standard is TEXT_INPUTS else here[:1]
    plain = [one for one in sorted(values) if not is_link(values[one])]
    return ["value"] if "value" in plain else plain if len(plain) == 1 else []


def _meta(entry: Any) -> Mapping[str, Any]:
    meta = entry.get("_meta")
    return meta if isinstance(meta, dict) else {}
