"""Template + request -> the graph that is posted. Pure: JSON in, JSON out.

A template is any API-format graph that ComfyUI saves. Nothing in it is marked: the places to
fill (its *slots*) are found by walking the links upwards from the output node, the way the
picture is made::

    SaveImage <- VAEDecode <- KSampler <- model        <- LoraLoader* <- Unet loader
                     ^            ^-----  positive     <- FluxGuidance <- CLIPTextEncode <- CLIP
                     |            ^-----  negative
                     VAE          ^-----  latent_image <- Empty*LatentImage

So a user may rename, renumber or add nodes without touching Python. What this file refuses to
know: which files exist, what a host supports, and anything about time or place.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType

from bridge.errors import WorkflowError
from bridge.request import LoraChoice, Request

Workflow = NewType("Workflow", dict[str, Any])
Wanted = Callable[[Mapping[str, Any]], bool]

LORA_LOADER = "LoraLoaderModelOnly"


@dataclass(frozen=True, slots=True)
class Slots:
    """Node ids of the places a request fills; ``None`` where the template has no such node."""

    output: str
    sampler: str
    unet: str
    prompt: str
    guidance: str | None
    negative: str | None
    latent: str
    text_encoders: str | None
    vae: str | None
    loras: tuple[str, ...]


def load(path: Path) -> Workflow:
    """Read a template.

    Raises:
        WorkflowError: missing, not JSON, or saved in the editor's format instead of API format.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkflowError(
            path.stem,
            f"{path} cannot be read ({error.strerror}); put a workflow there that "
            "ComfyUI exported in API format, or name another one",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WorkflowError(path.stem, f"{path} is not JSON: {error}") from error
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise WorkflowError(
            path.stem, f"{path} is in the editor's format; use Workflow > Export (API) in ComfyUI"
        )
    if not isinstance(graph, dict) or not all(_is_node(node) for node in graph.values()):
        raise WorkflowError(path.stem, f"{path} is no API-format graph of nodes")
    return Workflow(graph)


def build(template: Workflow, request: Request, prefix: str) -> Workflow:
    """Fill the template's slots; the template itself is left as it was.

    Args:
        template: an API-format graph.
        request: the image.
        prefix: ``filename_prefix`` of the output; with a job id in it an identical graph still
            gets a file of its own (ComfyUI caches nodes whose inputs did not change).

    Raises:
        WorkflowError: the template lacks a slot that the request needs.
    """
    graph = Workflow(deepcopy(template))
    slots = find_slots(graph, request.workflow)
    _fill(graph, slots.output, filename_prefix=prefix)
    _fill(graph, slots.unet, unet_name=request.unet)
    _fill(graph, slots.prompt, text=request.prompt)
    _fill(graph, slots.latent, width=request.width, height=request.height, batch_size=1)
    _fill_sampler(graph, slots.sampler, request)
    if slots.guidance:
        _fill(graph, slots.guidance, guidance=request.guidance)
    if slots.text_encoders:
        first, second = request.text_encoders
        _fill(graph, slots.text_encoders, clip_name1=first, clip_name2=second)
    if slots.vae:
        _fill(graph, slots.vae, vae_name=request.vae)
    _place_negative(graph, slots, request.negative)
    _place_loras(graph, slots, request.loras)
    return graph


def find_slots(graph: Workflow, name: str = "workflow") -> Slots:
    """Find what a request can fill, walking up from the one output node.

    Raises:
        WorkflowError: no output, several samplers, or a part without which no request fits.
    """
    walk = _Walk(graph, name)
    output = walk.only("output node", lambda node: "filename_prefix" in node["inputs"])
    sampler = walk.above(output, "sampler", lambda node: "latent_image" in node["inputs"])
    model = list(walk.upwards(sampler, through="model"))
    unet = walk.first(model, "unet loader", lambda node: "unet_name" in node["inputs"])
    positive = list(walk.upwards(sampler, through="positive"))
    negative = list(walk.upwards(sampler, through="negative"))
    prompt = walk.first(positive, "prompt", _is_text)
    unprompted = [node for node in negative if node != prompt]
    zeroed = any(graph[node]["class_type"] == "ConditioningZeroOut" for node in negative)
    return Slots(
        output=output,
        sampler=sampler,
        unet=unet,
        prompt=prompt,
        guidance=walk.find(positive, lambda node: "guidance" in node["inputs"]),
        negative=None if zeroed else walk.find(unprompted, _is_text),
        latent=walk.above(sampler, "latent size", _is_size, through="latent_image"),
        text_encoders=walk.find(walk.upwards(prompt), lambda node: "clip_name2" in node["inputs"]),
        vae=walk.find(walk.upwards(output), lambda node: "vae_name" in node["inputs"]),
        loras=tuple(n for n in model if graph[n]["class_type"] == LORA_LOADER),
    )


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _is_text(node: Mapping[str, Any]) -> bool:
    return bool(node["class_type"] == "CLIPTextEncode")


def _is_size(node: Mapping[str, Any]) -> bool:
    return {"width", "height", "batch_size"} <= set(node["inputs"])


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


class _Walk:
    """Steps along a graph's links, with the template's name for the complaints."""

    def __init__(self, graph: Workflow, name: str) -> None:
        self.graph, self.name = graph, name

    def upwards(self, start: str, through: str | None = None) -> Iterator[str]:
        """Yield the nodes above ``start``, nearest first; ``through`` names the first link."""
        inputs = self.graph[start]["inputs"]
        links = [inputs.get(through)] if through else list(inputs.values())
        waiting = [link[0] for link in links if _is_link(link)]
        seen: set[str] = set()
        while waiting:
            node = waiting.pop(0)
            if node in seen:
                continue
            if node not in self.graph:
                raise WorkflowError(self.name, f"a link points to node {node}, which is not there")
            seen.add(node)
            yield node
            waiting += [link[0] for link in self.graph[node]["inputs"].values() if _is_link(link)]

    def find(self, nodes: Iterable[str], wanted: Wanted) -> str | None:
        return next((node for node in nodes if wanted(self.graph[node])), None)

    def first(self, nodes: Iterable[str], what: str, wanted: Wanted) -> str:
        node = self.find(nodes, wanted)
        if node is None:
            raise WorkflowError(self.name, f"has no {what} on the way to its output")
        return node

    def above(self, start: str, what: str, wanted: Wanted, through: str | None = None) -> str:
        return self.first(self.upwards(start, through), what, wanted)

    def only(self, what: str, wanted: Wanted) -> str:
        nodes = [node for node in self.graph if wanted(self.graph[node])]
        if len(nodes) != 1:
            raise WorkflowError(self.name, f"needs exactly one {what}, it has {len(nodes)}")
        return nodes[0]


def _fill(graph: Workflow, node: str, **values: Any) -> None:
    graph[node]["inputs"].update(values)


def _fill_sampler(graph: Workflow, sampler: str, request: Request) -> None:
    seed = "noise_seed" if "noise_seed" in graph[sampler]["inputs"] else "seed"
    _fill(graph, sampler, **{seed: request.seed, "steps": request.steps, "cfg": request.cfg})


def _place_negative(graph: Workflow, slots: Slots, negative: str) -> None:
    """Fill the negative prompt, adding an encoder where the template zeroes it out."""
    if slots.negative:
        _fill(graph, slots.negative, text=negative)
    elif negative:
        encoder = deepcopy(graph[slots.prompt])
        encoder["inputs"]["text"] = negative
        encoder["_meta"] = {"title": "Negative prompt"}
        node = _free_id(graph)
        graph[node] = encoder
        _fill(graph, slots.sampler, negative=[node, 0])


def _place_loras(graph: Workflow, slots: Slots, loras: tuple[LoraChoice, ...]) -> None:
    """Put the request's LoRAs where the template has its own, or right behind the unet."""
    *others, place = slots.loras or (_loader_behind(graph, slots.unet),)
    for node in others:
        _relink(graph, [node, 0], graph.pop(node)["inputs"]["model"])
    end = graph.pop(place)["inputs"]["model"]
    for lora in loras:
        node = _free_id(graph)
        graph[node] = {
            "class_type": LORA_LOADER,
            "inputs": {"model": end, "lora_name": lora.file, "strength_model": lora.strength},
            "_meta": {"title": "LoRA"},
        }
        end = [node, 0]
    _relink(graph, [place, 0], end)


def _loader_behind(graph: Workflow, unet: str) -> str:
    """Mark the place of a template's missing LoRA loader: between the unet and its readers."""
    _relink(graph, [unet, 0], ["lora", 0])
    graph["lora"] = {"class_type": LORA_LOADER, "inputs": {"model": [unet, 0]}}
    return "lora"


def _relink(graph: Workflow, old: list[Any], new: list[Any]) -> None:
    for node in graph.values():
        for name, value in node["inputs"].items():
            if value == old:
                node["inputs"][name] = new


def _free_id(graph: Workflow) -> str:
    return str(max((int(node) for node in graph if node.isdigit()), default=0) + 1)
