"""Graphs and a request that the tests of slots share."""

from dataclasses import replace
from typing import Any

from bridge import workflow
from bridge.graph import Workflow
from bridge.request import Request
from tests import sample_request
from tests.graph_kit import base, ksampler, node

REQUEST = replace(
    sample_request.REQUEST,
    prompt="a fox",
    width=640,
    height=384,
    steps=8,
    guidance=2.5,
    cfg=3.0,
    seed=77,
    unet="u.gguf",
    text_encoders=("c.safetensors", "t.gguf"),
    batch=2,
)


def built(graph: Workflow, request: Request = REQUEST, image: str = "") -> Workflow:
    return workflow.build(graph, request, "vulcan/id/img", image)


def custom(**more: Any) -> Workflow:
    graph = base(
        sample=node(
            "SamplerCustomAdvanced",
            noise=("noise", 0),
            guider=("guider", 0),
            sampler=("select", 0),
            sigmas=("schedule", 0),
            latent_image=("latent", 0),
        ),
        noise=node("RandomNoise", noise_seed=5),
        guider=node("BasicGuider", model=("shift", 0), conditioning=("guidance", 0)),
        guidance=node("FluxGuidance", conditioning=("text", 0), guidance=3.5),
        select=node("KSamplerSelect", sampler_name="euler"),
        schedule=node(
            "BasicScheduler", model=("shift", 0), scheduler="simple", steps=20, denoise=1.0
        ),
        shift=node("ModelSamplingFlux", model=("unet", 0), max_shift=1.15, width=512, height=512),
    )
    return Workflow({**graph, **more})


def two_stages(**second: Any) -> Workflow:
    return base(
        first=ksampler(),
        larger=node("LatentUpscale", samples=("first", 0), width=1024, height=1024),
        sample=ksampler(**({"latent_image": ("larger", 0), "steps": 10, "denoise": 0.4} | second)),
    )
