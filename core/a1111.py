"""The ``parameters`` text of a picture, as A1111 and Forge write it. Pure.

Image sites and viewers (Civitai, SD Prompt Reader, A1111's own "PNG Info") read this one text and
nothing of ours, so it follows A1111's ``create_infotext`` to the letter: prompt with its
``<lora:name:strength>`` tags, ``Negative prompt:``, then one line of ``Key: value`` pairs::

    a fox <lora:style:0.8>
    Negative prompt: rain
    Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, ...

A hash is the first ten digits of a file's SHA-256 ("AutoV2"), by which Civitai knows a model.
``Hashes`` stands last and unquoted, as Civitai's own extension appends it. The exact values are in
our own record; here, what would break A1111's reader is bent: spaces at the ends of a line, and
a line of a prompt that begins like A1111's own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bridge.request import LoraChoice, Request
from bridge.workflow import Workflow
from core.provenance import TOOL, Hashes

KEYWORD = "parameters"
AUTO_V2 = 10  # hex digits
NEGATIVE = "Negative prompt:"

SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "lcm": "LCM",
    "ipndm": "IPNDM",
    "deis": "DEIS",
    "restart": "Restart",
}
SCHEDULERS: Mapping[str, str] = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
}
# A1111's own signs in its tags and lists, and those that would end Civitai's Hashes or a line.
_NOT_IN_NAMES = re.compile(r"""[:,<>{}"\\\x00-\x1f\x7f]""")


@dataclass(frozen=True, slots=True)
class Place:
    """Which of a job's pictures it is; ``number`` counts from 1."""

    number: int = 1
    count: int = 1


def parameters(request: Request, graph: Workflow, hashes: Hashes, place: Place) -> str:
    """Return the text.

    Args:
        request: what was asked for, template syntax resolved.
        graph: what was rendered; it knows sampler and scheduler where the request says nothing.
        hashes: of the files; those that are unknown are left out.
        place: which picture of the job.
    """
    tags = [f"<lora:{_name(lora.file)}:{lora.strength:g}>" for lora in request.loras]
    prompt = " ".join([_prompt(request.prompt), *tags])
    negative = _prompt(request.negative)
    settings = [f"{key}: {quote(value)}" for key, value in _settings(request, graph, hashes, place)]
    known = json.dumps(_hashes(request, hashes), ensure_ascii=False)
    return "\n".join(
        [
            prompt,
            *([f"{NEGATIVE} {negative}"] if negative else []),
            ", ".join([*settings, f"Hashes: {known}"]),
        ]
    )


def quote(value: str) -> str:
    """Quote a value as A1111's ``quote`` does, and where its reader would take it for quoted."""
    if re.search(r"[,\n:]", value) or value != value.strip() or value.startswith('"'):
        return json.dumps(value, ensure_ascii=False)
    return value


def _settings(
    request: Request, graph: Workflow, hashes: Hashes, place: Place
) -> Iterator[tuple[str, str]]:
    yield "Steps", str(request.steps)
    sampler = request.sampler or _first(graph, "sampler_name")
    scheduler = request.scheduler or _first(graph, "scheduler")
    if sampler:
        yield "Sampler", SAMPLERS.get(str(sampler), str(sampler))
    if scheduler:
        yield "Schedule type", SCHEDULERS.get(str(scheduler), str(scheduler))
    yield "CFG scale", f"{request.cfg:g}"
    if _first(graph, "guidance") is not None:
        yield "Distilled CFG Scale", f"{request.guidance:g}"
    yield "Seed", str(request.seed)
    yield "Size", f"{request.width}x{request.height}"
    yield from _files(request, hashes)
    denoise = _first(graph, "denoise") if request.denoise is None else request.denoise
    if isinstance(denoise, int | float) and denoise < 1:
        yield "Denoising strength", f"{denoise:g}"
    if place.count > 1:
        yield "Batch size", str(place.count)
        yield "Batch pos", str(place.number - 1)
    if request.template:
        yield "Template", request.template
    yield "Version", TOOL


def _files(request: Request, hashes: Hashes) -> Iterator[tuple[str, str]]:
    yield "Model hash", hashes.unet[:AUTO_V2]
    yield "Model", _name(request.unet)
    if vae := hashes.vae.get(request.vae):
        yield "VAE hash", vae[:AUTO_V2]
    yield "VAE", request.vae
    known = [f"{_name(lora.file)}: {digest}" for lora, digest in _lora_hashes(request, hashes)]
    if known:
        yield "Lora hashes", ", ".join(known)


def _hashes(request: Request, hashes: Hashes) -> dict[str, str]:
    """Return Civitai's table of everything that it may know."""
    found = {"model": hashes.unet[:AUTO_V2]}
    if vae := hashes.vae.get(request.vae):
        found["vae"] = vae[:AUTO_V2]
    loras = {f"lora:{_name(lora.file)}": digest for lora, digest in _lora_hashes(request, hashes)}
    return found | loras


def _lora_hashes(request: Request, hashes: Hashes) -> Iterator[tuple[LoraChoice, str]]:
    for lora in request.loras:
        if digest := hashes.loras.get(lora.file):
            yield lora, digest[:AUTO_V2]


def _first(graph: Workflow, name: str) -> Any:
    """Return the first value of an input of this name that is no link."""
    values = (node["inputs"].get(name) for node in graph.values())
    return next((value for value in values if value is not None and not _is_link(value)), None)


def _is_link(value: Any) -> bool:
    return isinstance(value, list | dict)


def _name(file: str) -> str:
    """Return a model file's name as A1111 would: no folder, no ending, no signs of its own."""
    path = PurePosixPath(file.replace("\\", "/"))
    known = path.suffix.lower() in (".safetensors", ".gguf", ".sft", ".ckpt", ".pt")
    return _NOT_IN_NAMES.sub("", path.stem if known else path.name).strip()


def _prompt(text: str) -> str:
    """Return a text whose lines A1111 reads back as they are."""
    lines = (line.strip() for line in text.strip().split("\n"))
    begun = NEGATIVE.removesuffix(":")
    return "\n".join(
        f"{begun} {line.removeprefix(begun)}" if line.startswith(NEGATIVE) else line
        for line in lines
    )
