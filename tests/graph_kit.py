"""Small graphs for tests of slots, and ways to write the same graph differently."""

import random
from copy import deepcopy
from typing import Any

from bridge.graph import Workflow, is_link


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    """Return a node; an input given as a tuple is a link."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in inputs.items()}
    return {"class_type": class_type, "inputs": values, "_meta": {"title": title or class_type}}


def base(**more: Any) -> Workflow:
    """Return what most graphs share: loaders, one text, a latent, decoding and saving.

    Nodes: ``unet``, ``clip``, ``text``, ``none`` (zeroed negative), ``latent``, ``vae``,
    ``decode`` (reads ``sample``) and ``save``; the test adds ``sample``.
    """
    graph = {
        "unet": node("UnetLoaderGGUF", unet_name="own.gguf"),
        "clip": node("DualCLIPLoaderGGUF", clip_name1="c0", clip_name2="t0", type="flux"),
        "text": node("CLIPTextEncode", clip=("clip", 0), text="own words"),
        "none": node("ConditioningZeroOut", conditioning=("text", 0)),
        "latent": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "vae": node("VAELoader", vae_name="v0"),
        "decode": node("VAEDecode", samples=("sample", 0), vae=("vae", 0)),
        "save": node("SaveImage", images=("decode", 0), filename_prefix="own"),
    }
    return Workflow({**graph, **more})


def ksampler(**changed: Any) -> dict[str, Any]:
    """Return a KSampler that reads the nodes of :func:`base`."""
    values: dict[str, Any] = {
        "model": ("unet", 0),
        "positive": ("text", 0),
        "negative": ("none", 0),
        "latent_image": ("latent", 0),
        "seed": 5,
        "steps": 20,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    return node("KSampler", **(values | changed))


def advanced(**changed: Any) -> dict[str, Any]:
    """Return a KSamplerAdvanced that reads the nodes of :func:`base`."""
    values: dict[str, Any] = {
        "model": ("unet", 0),
        "positive": ("text", 0),
        "negative": ("none", 0),
        "latent_image": ("latent", 0),
        "noise_seed": 5,
        "steps": 20,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "add_noise": "enable",
        "start_at_step": 0,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
    }
    return node("KSamplerAdvanced", **(values | changed))


def values(graph: Workflow, at: str) -> dict[str, Any]:
    """Return a node's inputs."""
    return dict(graph[at]["inputs"])


def rewritten(graph: Workflow, chance: random.Random) -> Workflow:
    """Return the same graph with other ids, titles and orders."""
    names = list(graph)
    ids = chance.sample(range(1, 999), len(names))
    forms = (str, lambda number: f"n{number}", lambda number: f"{number}:{number % 7}")
    renamed = {name: chance.choice(forms)(one) for name, one in zip(names, ids, strict=True)}
    shuffled = chance.sample(names, len(names))
    return Workflow({renamed[name]: _rewritten(graph[name], renamed, chance) for name in shuffled})


def _rewritten(entry: Any, renamed: dict[str, str], chance: random.Random) -> Any:
    entry = deepcopy(entry)
    inputs = {
        name: [renamed[value[0]], value[1]] if is_link(value) else value
        for name, value in entry["inputs"].items()
    }
    order = chance.sample(list(inputs), len(inputs))
    title = entry.get("_meta", {}).get("title", "")
    if not title.startswith("vulcan:"):
        title = chance.choice(["", "Titel", "vulcan", "KSampler", "a: b"])
    entry["_meta"] = {"title": title}
    entry["inputs"] = {name: inputs[name] for name in order}
    return entry


def unfolded(graph: Workflow, at: str) -> Any:
    """Return a node with everything above it in place of its links: a graph without ids."""
    entry = graph[at]
    return [
        entry["class_type"],
        {
            name: ["link", unfolded(graph, value[0]), value[1]] if is_link(value) else value
            for name, value in sorted(entry["inputs"].items())
        },
    ]
