"""Nodes that open model files: unet, LoRA, text encoders, VAE."""

from host import loader_functions as run
from host.node_inputs import (
    combo,
    files,
    fixed,
    number,
    stamps,
    wire,
)
from host.node_types import Input, NodeType

CLIP_TYPES = ("flux",)

_CLIP_KINDS = ("text_encoders", "clip_gguf")
_GGUF = "custom_nodes.ComfyUI-GGUF"
_LORA_TIP = (
    "LoRAs are used to modify diffusion and CLIP models, altering the way in which latents are "
    "denoised such as applying styles. Multiple LoRA nodes can be linked together."
)
_LORA_OUTPUTS = ("The modified diffusion model.", "The modified CLIP model.")


def _strength(of: str, called: str) -> Input:
    tip = f"How strongly to modify the {called} model. This value can be negative."
    return number(f"strength_{of}", 1.0, -100.0, 100.0, step=0.01, tooltip=tip)


ROWS: tuple[NodeType, ...] = (
    NodeType(
        "UnetLoaderGGUF",
        (combo("unet_name", files("unet_gguf")),),
        ("MODEL",),
        run.load_unet_gguf,
        display_name="Unet Loader (GGUF)",
        category="bootleg",
        python_module=_GGUF,
        fingerprint=stamps(unet_name=("unet_gguf",)),
    ),
    NodeType(
        "UNETLoader",
        (
            combo("unet_name", files("diffusion_models")),
            combo("weight_dtype", fixed("default")),
        ),
        ("MODEL",),
        run.load_unet,
        display_name="Load Diffusion Model",
        category="advanced/loaders",
        fingerprint=stamps(unet_name=("diffusion_models",)),
    ),
    NodeType(
        "LoraLoader",
        (
            wire("model", "MODEL", "The diffusion model the LoRA will be applied to."),
            wire("clip", "CLIP", "The CLIP model the LoRA will be applied to."),
            combo("lora_name", files("loras"), "The name of the LoRA."),
            _strength("model", "diffusion"),
            _strength("clip", "CLIP"),
        ),
        ("MODEL", "CLIP"),
        run.load_lora_beside_clip,
        display_name="Load LoRA",
        category="loaders",
        description=_LORA_TIP,
        output_tooltips=_LORA_OUTPUTS,
        fingerprint=stamps(lora_name=("loras",)),
    ),
    NodeType(
        "LoraLoaderModelOnly",
        (
            wire("model", "MODEL"),
            combo("lora_name", files("loras")),
            number("strength_model", 1.0, -100.0, 100.0, step=0.01),
        ),
        ("MODEL",),
        run.load_lora,
        category="loaders",
        description=_LORA_TIP,
        output_tooltips=_LORA_OUTPUTS,  # ComfyUI's, which has both here too
        fingerprint=stamps(lora_name=("loras",)),
    ),
    NodeType(
        "DualCLIPLoaderGGUF",
        (
            combo("clip_name1", files(*_CLIP_KINDS)),
            combo("clip_name2", files(*_CLIP_KINDS)),
            combo("type", fixed(*CLIP_TYPES)),
        ),
        ("CLIP",),
        run.load_clips,
        display_name="DualCLIPLoader (GGUF)",
        category="bootleg",
        python_module=_GGUF,
        fingerprint=stamps(clip_name1=_CLIP_KINDS, clip_name2=_CLIP_KINDS),
    ),
    NodeType(
        "DualCLIPLoader",
        (
            combo("clip_name1", files("text_encoders")),
            combo("clip_name2", files("text_encoders")),
            combo("type", fixed(*CLIP_TYPES)),
            combo("device", fixed("default", "cpu"), required=False),
        ),
        ("CLIP",),
        run.load_clips,
        category="advanced/loaders",
        description="[Recipes]\n\nflux: clip-l, t5",
        fingerprint=stamps(clip_name1=_CLIP_KINDS, clip_name2=_CLIP_KINDS),
    ),
    NodeType(
        "VAELoader",
        (combo("vae_name", files("vae")),),
        ("VAE",),
        run.load_vae,
        display_name="Load VAE",
        category="loaders",
        fingerprint=stamps(vae_name=("vae",)),
    ),
)
