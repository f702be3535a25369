"""Puts a request's LoRAs into a graph: where its own loaders stand, or behind the model's.

Which loaders make room:

* those titled ``vulcan:lora``, always, and then every other one stays as the user saved it;
* else all on the way of the samplers' model, but only if the request has LoRAs or says that it
  wants none; a LoRA that the user saved is not dropped by silence. A loader that another named
  slot belongs to stays.

New loaders are copies of the one they replace, so that a loader with a clip link keeps it
(``LoraLoader``: the strength goes to both). One titled ``vulcan:lora, share=strength_model`` takes
that share of each strength: several of them draw a LoRA at several strengths side by side.
What this file refuses to know: what is in a LoRA.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from bridge.graph import (
    Workflow,
    free_id,
    inputs,
    is_link,
    linked,
    relink,
    sources,
    upwards,
)
from bridge.named_slots import Slot
from bridge.request import LoraChoice
from bridge.slots import Slots

LORA_LOADER = "LoraLoaderModelOnly"
SHARE = "share"  # a slot of the workflow's own

Link = Sequence[Any]


def place_loras(
    graph: Workflow,
    slots: Slots,
    loras: Sequence[LoraChoice],
    asked: bool,
    keep: Collection[str] = (),
) -> bool:
    """Replace the graph's LoRA loaders by the request's LoRAs, in their order.

    Args:
        graph: changed in place.
        slots: of this graph.
        loras: the request's.
        asked: the prompt file speaks of LoRAs, so that none means none.
        keep: nodes that stay whatever they are.

    Returns:
        Whether the graph carries them now; only where it loads no model at all it does not.
    """
    titled = [place.node for place in slots[Slot.LORA] if _is_loader(graph, place.node)]
    own = _on_the_way(graph, slots.samplers) if loras or asked else []
    loaders = titled or [node for node in own if node not in keep]
    for loader in _upper(graph, loaders):
        share = _share(graph, slots, loader)
        _replace(graph, loader, [replace(one, strength=one.strength * share) for one in loras])
    for loader in loaders:
        if loader in graph:
            _take_out(graph, loader)
    return bool(loaders) or not loras or _behind_models(graph, slots.samplers, loras)


def _share(graph: Workflow, slots: Slots, loader: str) -> float:
    """The share of each strength that a loader takes; noted, so that building again finds it."""
    if loader not in (place.node for place in slots[SHARE]):
        return 1.0
    meta = graph[loader].setdefault("_meta", {})
    share = meta.setdefault(SHARE, inputs(graph, loader)["strength_model"])
    return float(share) if isinstance(share, int | float) else 1.0


def _is_loader(graph: Workflow, node: str) -> bool:
    values = inputs(graph, node)
    return {"lora_name", "strength_model"} <= set(values) and is_link(values.get("model"))


def _on_the_way(graph: Workflow, samplers: Sequence[str]) -> list[str]:
    return [node for node in upwards(graph, samplers) if _is_loader(graph, node)]


def _upper(graph: Workflow, loaders: Sequence[str]) -> list[str]:
    """Return the loaders that have none of the others above them: one for each stack."""
    return [
        loader
        for loader in loaders
        if not set(upwards(graph, sources(graph, loader))) & set(loaders)
    ]


def _replace(graph: Workflow, loader: str, loras: Sequence[LoraChoice]) -> None:
    old = graph[loader]
    model, clip = old["inputs"]["model"], old["inputs"].get("clip")
    for lora in loras:
        node = free_id(graph)
        graph[node] = _loader(old, lora, model, clip)
        model, clip = [node, 0], [node, 1]
    relink(graph, [loader, 0], model)
    if is_link(clip):
        relink(graph, [loader, 1], clip)
    # The first copy read what the old one read; nothing reads the old one any more.
    del graph[loader]


def _loader(old: dict[str, Any], lora: LoraChoice, model: Link, clip: Any) -> dict[str, Any]:
    node = deepcopy(old)
    node["inputs"] |= {
        "lora_name": lora.file,
        "strength_model": lora.strength,
        "model": list(model),
    }
    if "strength_clip" in node["inputs"]:
        node["inputs"]["strength_clip"] = lora.strength
    if is_link(node["inputs"].get("clip")):
        node["inputs"]["clip"] = list(clip)
    return node


def _take_out(graph: Workflow, loader: str) -> None:
    values = inputs(graph, loader)
    relink(graph, [loader, 0], values["model"])
    if is_link(values.get("clip")):
        relink(graph, [loader, 1], values["clip"])
    del graph[loader]


def _behind_models(graph: Workflow, samplers: Sequence[str], loras: Sequence[LoraChoice]) -> bool:
    """Put LoRAs between each model's loader and all that read it."""
    origins = dict.fromkeys(
        tuple(inputs(graph, node)["model"])
        for node in upwards(graph, samplers)
        if (above := linked(graph, node, "model")) and not linked(graph, above, "model")
    )
    for node, slot in origins:
        _insert(graph, [node, slot], loras)
    return bool(origins)


def _insert(graph: Workflow, origin: Link, loras: Sequence[LoraChoice]) -> None:
    end = list(origin)
    added: dict[str, Any] = {}
    first = int(free_id(graph))
    for number, lora in enumerate(loras):
        values = {"model": end, "lora_name": lora.file, "strength_model": lora.strength}
        added[str(first + number)] = {
            "class_type": LORA_LOADER,
            "inputs": values,
            "_meta": {"title": "LoRA"},
        }
        end = [str(first + number), 0]
    relink(graph, origin, end)  # before the new ones are there: they keep reading the origin
    graph.update(added)
