"""Nodes that sample, and those that name the parts of a sampling."""

from host import sampler_functions as run
from host.node_inputs import (
    MAX_SIZE,
    combo,
    fixed,
    integer,
    number,
    wire,
)
from host.node_types import Input, NodeType

MAX_SEED = 0xFFFFFFFFFFFFFFFF
MAX_STEPS = 10000
SAMPLERS = ("euler", "heun", "dpmpp_2m")
SCHEDULERS = ("simple", "sgm_uniform", "beta", "normal")

_CUSTOM = "comfy_extras.nodes_custom_sampler"
_SEED_TIP = "The random seed used for creating the noise."
_CFG_TIP = (
    "The Classifier-Free Guidance scale balances creativity and adherence to the prompt. Higher "
    "values result in images more closely matching the prompt however too high values will "
    "negatively impact quality."
)
_SAMPLER_TIP = (
    "The algorithm used when sampling, this can affect the quality, speed, and style of the "
    "generated output."
)
_DENOISE_TIP = (
    "The amount of denoising applied, lower values will maintain the structure of the initial "
    "image allowing for image to image sampling."
)
_POSITIVE_TIP = "The conditioning describing the attributes you want to include in the image."
_NEGATIVE_TIP = "The conditioning describing the attributes you want to exclude from the image."
_SCHEDULER_TIP = "The scheduler controls how noise is gradually removed to form the image."
_MODEL_TIP = "The model used for denoising the input latent."
_STEPS_TIP = "The number of steps used in the denoising process."


def _tip(text: str) -> dict[str, str]:
    return {"tooltip": text} if text else {}


def _seed(name: str, tip: str = "") -> Input:
    return integer(name, 0, 0, MAX_SEED, control_after_generate=True, **_tip(tip))


def _steps(tip: str = "") -> Input:
    return integer("steps", 20, 1, MAX_STEPS, **_tip(tip))


def _cfg(tip: str = "") -> Input:
    return number("cfg", 8.0, 0.0, 100.0, step=0.1, round=0.01, **_tip(tip))


def _denoise(tip: str = "") -> Input:
    return number("denoise", 1.0, 0.0, 1.0, step=0.01, **_tip(tip))


def _sampler(tip: str = "") -> Input:
    return combo("sampler_name", fixed(*SAMPLERS), tip)


def _scheduler(tip: str = "") -> Input:
    return combo("scheduler", fixed(*SCHEDULERS), tip)


_BOTH_PROMPTS = (wire("positive", "CONDITIONING"), wire("negative", "CONDITIONING"))
_TWO_LATENTS = ("output", "denoised_output")

_WHOLE = (
    NodeType(
        "KSampler",
        (
            wire("model", "MODEL", _MODEL_TIP),
            _seed("seed", _SEED_TIP),
            _steps(_STEPS_TIP),
            _cfg(_CFG_TIP),
            _sampler(_SAMPLER_TIP),
            _scheduler(_SCHEDULER_TIP),
            wire("positive", "CONDITIONING", _POSITIVE_TIP),
            wire("negative", "CONDITIONING", _NEGATIVE_TIP),
            wire("latent_image", "LATENT", "The latent image to denoise."),
            _denoise(_DENOISE_TIP),
        ),
        ("LATENT",),
        run.sample,
        category="sampling",
        description="Uses the provided model, positive and negative conditioning to denoise the "
        "latent image.",
        output_tooltips=("The denoised latent.",),
    ),
    NodeType(
        "KSamplerAdvanced",
        (
            wire("model", "MODEL"),
            combo("add_noise", fixed("enable", "disable")),
            _seed("noise_seed"),
            _steps(),
            _cfg(),
            _sampler(),
            _scheduler(),
            *_BOTH_PROMPTS,
            wire("latent_image", "LATENT"),
            integer("start_at_step", 0, 0, MAX_STEPS),
            integer("end_at_step", MAX_STEPS, 0, MAX_STEPS),
            combo("return_with_leftover_noise", fixed("disable", "enable")),
        ),
        ("LATENT",),
        run.sample_part,
        display_name="KSampler (Advanced)",
        category="sampling",
    ),
    NodeType(
        "SamplerCustom",
        (
            wire("model", "MODEL"),
            Input("add_noise", "BOOLEAN", {"default": True}),
            _seed("noise_seed"),
            _cfg(),
            *_BOTH_PROMPTS,
            wire("sampler", "SAMPLER"),
            wire("sigmas", "SIGMAS"),
            wire("latent_image", "LATENT"),
        ),
        ("LATENT", "LATENT"),
        run.sample_custom,
        category="sampling/custom_sampling",
        python_module=_CUSTOM,
        output_names=_TWO_LATENTS,
    ),
    NodeType(
        "SamplerCustomAdvanced",
        (
            wire("noise", "NOISE"),
            wire("guider", "GUIDER"),
            wire("sampler", "SAMPLER"),
            wire("sigmas", "SIGMAS"),
            wire("latent_image", "LATENT"),
        ),
        ("LATENT", "LATENT"),
        run.sample_guided,
        category="sampling/custom_sampling",
        python_module=_CUSTOM,
        output_names=_TWO_LATENTS,
    ),
)

_PARTS = (
    NodeType(
        "RandomNoise",
        (_seed("noise_seed"),),
        ("NOISE",),
        run.random_noise,
        category="sampling/custom_sampling/noise",
        python_module=_CUSTOM,
    ),
    NodeType(
        "DisableNoise",
        (),
        ("NOISE",),
        run.no_noise,
        category="sampling/custom_sampling/noise",
        python_module=_CUSTOM,
    ),
    NodeType(
        "BasicGuider",
        (wire("model", "MODEL"), wire("conditioning", "CONDITIONING")),
        ("GUIDER",),
        run.basic_guider,
        category="sampling/custom_sampling/guiders",
        python_module=_CUSTOM,
    ),
    NodeType(
        "CFGGuider",
        (wire("model", "MODEL"), *_BOTH_PROMPTS, _cfg()),
        ("GUIDER",),
        run.cfg_guider,
        category="sampling/custom_sampling/guiders",
        python_module=_CUSTOM,
    ),
    NodeType(
        "KSamplerSelect",
        (_sampler(),),
        ("SAMPLER",),
        run.select_sampler,
        category="sampling/custom_sampling/samplers",
        python_module=_CUSTOM,
    ),
    NodeType(
        "BasicScheduler",
        (wire("model", "MODEL"), _scheduler(), _steps(), _denoise()),
        ("SIGMAS",),
        run.schedule,
        category="sampling/custom_sampling/schedulers",
        python_module=_CUSTOM,
    ),
    NodeType(
        "SplitSigmas",
        (wire("sigmas", "SIGMAS"), integer("step", 0, 0, MAX_STEPS)),
        ("SIGMAS", "SIGMAS"),
        run.split_sigmas,
        category="sampling/custom_sampling/sigmas",
        python_module=_CUSTOM,
        output_names=("high_sigmas", "low_sigmas"),
    ),
    NodeType(
        "FlipSigmas",
        (wire("sigmas", "SIGMAS"),),
        ("SIGMAS",),
        run.flip_sigmas,
        category="sampling/custom_sampling/sigmas",
        python_module=_CUSTOM,
    ),
    NodeType(
        "ModelSamplingFlux",
        (
            wire("model", "MODEL"),
            number("max_shift", 1.15, 0.0, 100.0, step=0.01),
            number("base_shift", 0.5, 0.0, 100.0, step=0.01),
            integer("width", 1024, 16, MAX_SIZE, step=8),
            integer("height", 1024, 16, MAX_SIZE, step=8),
        ),
        ("MODEL",),
        run.shift_for_size,
        category="advanced/model",
        python_module="comfy_extras.nodes_model_advanced",
    ),
)

ROWS: tuple[NodeType, ...] = (*_WHOLE, *_PARTS)
