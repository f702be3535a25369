"""Nodes that sample."""

from host import sampler_functions as run
from host.node_inputs import (
    combo,
    fixed,
    integer,
    number,
    wire,
)
from host.node_types import NodeType

MAX_SEED = 0xFFFFFFFFFFFFFFFF
SAMPLERS = ("euler",)
SCHEDULERS = ("simple", "normal")

ROWS: tuple[NodeType, ...] = (
    NodeType(
        "KSampler",
        (
            wire("model", "MODEL", "The model used for denoising the input latent."),
            integer("seed", 0, 0, MAX_SEED, control_after_generate=True),
            integer("steps", 20, 1, 10000),
            number("cfg", 8.0, 0.0, 100.0, step=0.1, round=0.01),
            combo("sampler_name", fixed(*SAMPLERS), "The algorithm used when sampling."),
            combo("scheduler", fixed(*SCHEDULERS), "How noise is gradually removed."),
            wire("positive", "CONDITIONING", "What you want to include in the image."),
            wire("negative", "CONDITIONING", "What you want to exclude from the image."),
            wire("latent_image", "LATENT", "The latent image to denoise."),
            number("denoise", 1.0, 0.0, 1.0, step=0.01),
        ),
        ("LATENT",),
        run.sample,
        category="sampling",
        description="Denoises the latent image with the model and the conditionings.",
        output_tooltips=("The denoised latent.",),
    ),
)
