"""The node table: every class_type that this host runs, with its inputs, outputs and function.

Names, defaults, limits, tooltips and categories are ComfyUI's (and ComfyUI-GGUF's), so that its
clients' own checks pass; combo lists hold only what really runs here.
"""

from collections.abc import Mapping
from typing import Any

from host import node_functions as run
from host.folders import MODEL_KINDS, Folders
from host.node_types import Choices, Fingerprint, Input, NodeTable, NodeType
from host.values import stamp

MAX_SIZE = 16384
MAX_SEED = 0xFFFFFFFFFFFFFFFF
SAMPLERS = ("euler",)
SCHEDULERS = ("simple", "normal")
CLIP_TYPES = ("flux",)


# --- short forms for declaring inputs ---


def _integer(name: str, default: int, low: int, high: int, **more: Any) -> Input:
    return Input(name, "INT", {"default": default, "min": low, "max": high, **more})


def _number(name: str, default: float, low: float, high: float, **more: Any) -> Input:
    return Input(name, "FLOAT", {"default": default, "min": low, "max": high, **more})


def _combo(name: str, choices: Choices, tip: str = "", *, required: bool = True) -> Input:
    return Input(name, "COMBO", {"tooltip": tip} if tip else {}, choices, required)


def _wire(name: str, kind: str, tip: str = "") -> Input:
    return Input(name, kind, {"tooltip": tip} if tip else {})


def _files(*kinds: str) -> Choices:
    def names(folders: Folders) -> list[str]:
        found = {name for kind in kinds for name in folders.names(kind)}
        return sorted(found, key=str.casefold)

    return names


def _fixed(*values: str) -> Choices:
    return lambda folders: list(values)


def _stamps(**kinds: tuple[str, ...]) -> Fingerprint:
    """Return a fingerprint over the files that these inputs name, each of one of these kinds."""

    def fingerprint(folders: Folders, inputs: Mapping[str, Any]) -> str:
        paths = [
            folders.models / subfolder / str(inputs.get(name))
            for name, allowed in kinds.items()
            for kind in allowed
            for subfolder in MODEL_KINDS[kind][0]
        ]
        return " ".join(stamp(path) for path in paths)

    return fingerprint


def _size(name: str, default: int, step: int, what: str = "") -> Input:
    tip = {"tooltip": f"The {name} of the latent images in pixels."} if what else {}
    return _integer(name, default, 16, MAX_SIZE, step=step, **tip)


# --- the rows ---

_CLIP_KINDS = ("text_encoders", "clip_gguf")
_PICTURE_DATA = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_GGUF = "custom_nodes.ComfyUI-GGUF"
_LORA_TIP = (
    "LoRAs are used to modify diffusion and CLIP models, altering the way in which latents are "
    "denoised such as applying styles. Multiple LoRA nodes can be linked together."
)

_LOADERS = (
    NodeType(
        "UnetLoaderGGUF",
        (_combo("unet_name", _files("unet_gguf")),),
        ("MODEL",),
        run.load_unet_gguf,
        display_name="Unet Loader (GGUF)",
        category="bootleg",
        python_module=_GGUF,
        fingerprint=_stamps(unet_name=("unet_gguf",)),
    ),
    NodeType(
        "UNETLoader",
        (
            _combo("unet_name", _files("diffusion_models")),
            _combo("weight_dtype", _fixed("default")),
        ),
        ("MODEL",),
        run.load_unet,
        display_name="Load Diffusion Model",
        category="advanced/loaders",
        fingerprint=_stamps(unet_name=("diffusion_models",)),
    ),
    NodeType(
        "LoraLoaderModelOnly",
        (
            _wire("model", "MODEL"),
            _combo("lora_name", _files("loras")),
            _number("strength_model", 1.0, -100.0, 100.0, step=0.01),
        ),
        ("MODEL",),
        run.load_lora,
        category="loaders",
        description=_LORA_TIP,
        output_tooltips=("The modified diffusion model.",),
        fingerprint=_stamps(lora_name=("loras",)),
    ),
    NodeType(
        "DualCLIPLoaderGGUF",
        (
            _combo("clip_name1", _files(*_CLIP_KINDS)),
            _combo("clip_name2", _files(*_CLIP_KINDS)),
            _combo("type", _fixed(*CLIP_TYPES)),
        ),
        ("CLIP",),
        run.load_clips,
        display_name="DualCLIPLoader (GGUF)",
        category="bootleg",
        python_module=_GGUF,
        fingerprint=_stamps(clip_name1=_CLIP_KINDS, clip_name2=_CLIP_KINDS),
    ),
    NodeType(
        "DualCLIPLoader",
        (
            _combo("clip_name1", _files("text_encoders")),
            _combo("clip_name2", _files("text_encoders")),
            _combo("type", _fixed(*CLIP_TYPES)),
            _combo("device", _fixed("default", "cpu"), required=False),
        ),
        ("CLIP",),
        run.load_clips,
        category="advanced/loaders",
        description="[Recipes]\n\nflux: clip-l, t5",
        fingerprint=_stamps(clip_name1=_CLIP_KINDS, clip_name2=_CLIP_KINDS),
    ),
    NodeType(
        "VAELoader",
        (_combo("vae_name", _files("vae")),),
        ("VAE",),
        run.load_vae,
        display_name="Load VAE",
        category="loaders",
        fingerprint=_stamps(vae_name=("vae",)),
    ),
)

_CONDITIONING = (
    NodeType(
        "CLIPTextEncode",
        (
            Input(
                "text",
                "STRING",
                {"multiline": True, "dynamicPrompts": True, "tooltip": "The text to be encoded."},
            ),
            _wire("clip", "CLIP", "The CLIP model used for encoding the text."),
        ),
        ("CONDITIONING",),
        run.encode_text,
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description="Encodes a text prompt into an embedding that guides the diffusion model.",
    ),
    NodeType(
        "FluxGuidance",
        (_wire("conditioning", "CONDITIONING"), _number("guidance", 3.5, 0.0, 100.0, step=0.1)),
        ("CONDITIONING",),
        run.set_guidance,
        category="advanced/conditioning/flux",
        python_module="comfy_extras.nodes_flux",
    ),
    NodeType(
        "ConditioningZeroOut",
        (_wire("conditioning", "CONDITIONING"),),
        ("CONDITIONING",),
        run.zero_out,
        category="advanced/conditioning",
    ),
)

_BATCH = _integer("batch_size", 1, 1, 4096)

_LATENTS = (
    NodeType(
        "EmptySD3LatentImage",
        (_size("width", 1024, 16), _size("height", 1024, 16), _BATCH),
        ("LATENT",),
        run.empty_latent,
        category="latent/sd3",
        python_module="comfy_extras.nodes_sd3",
    ),
    NodeType(
        "EmptyLatentImage",
        (_size("width", 512, 8, "latent"), _size("height", 512, 8, "latent"), _BATCH),
        ("LATENT",),
        run.empty_latent,
        display_name="Empty Latent Image",
        category="latent",
        description="Create a new batch of empty latent images to be denoised via sampling.",
    ),
    NodeType(
        "KSampler",
        (
            _wire("model", "MODEL", "The model used for denoising the input latent."),
            _integer("seed", 0, 0, MAX_SEED, control_after_generate=True),
            _integer("steps", 20, 1, 10000),
            _number("cfg", 8.0, 0.0, 100.0, step=0.1, round=0.01),
            _combo("sampler_name", _fixed(*SAMPLERS), "The algorithm used when sampling."),
            _combo("scheduler", _fixed(*SCHEDULERS), "How noise is gradually removed."),
            _wire("positive", "CONDITIONING", "What you want to include in the image."),
            _wire("negative", "CONDITIONING", "What you want to exclude from the image."),
            _wire("latent_image", "LATENT", "The latent image to denoise."),
            _number("denoise", 1.0, 0.0, 1.0, step=0.01),
        ),
        ("LATENT",),
        run.sample,
        category="sampling",
        description="Denoises the latent image with the model and the conditionings.",
        output_tooltips=("The denoised latent.",),
    ),
    NodeType(
        "VAEDecode",
        (
            _wire("samples", "LATENT", "The latent to be decoded."),
            _wire("vae", "VAE", "The VAE model used for decoding the latent."),
        ),
        ("IMAGE",),
        run.decode,
        display_name="VAE Decode",
        category="latent",
        description="Decodes latent images back into pixel space images.",
        output_tooltips=("The decoded image.",),
    ),
)

_PREFIX_TIP = (
    "The prefix for the file to save. This may include formatting information such as "
    "%date:yyyy-MM-dd% or %Empty Latent Image.width% to include values from nodes."
)

_PICTURES = (
    NodeType(
        "EmptyImage",
        (
            _integer("width", 512, 1, MAX_SIZE, step=1),
            _integer("height", 512, 1, MAX_SIZE, step=1),
            _BATCH,
            _integer("color", 0, 0, 0xFFFFFF, step=1, display="color"),
        ),
        ("IMAGE",),
        run.empty_image,
        category="image",
    ),
    NodeType(
        "SaveImage",
        (
            _wire("images", "IMAGE", "The images to save."),
            Input("filename_prefix", "STRING", {"default": "ComfyUI", "tooltip": _PREFIX_TIP}),
        ),
        (),
        run.save_image,
        display_name="Save Image",
        category="image",
        description="Saves the input images to your ComfyUI output directory.",
        is_output=True,
        hidden=_PICTURE_DATA,
    ),
    NodeType(
        "PreviewImage",
        (_wire("images", "IMAGE"),),
        (),
        run.preview_image,
        display_name="Preview Image",
        category="image",
        description="Saves the input images to your ComfyUI output directory.",
        is_output=True,
        hidden=_PICTURE_DATA,
    ),
    NodeType(
        "SaveImageWebsocket",
        (_wire("images", "IMAGE"),),
        (),
        run.send_image,
        category="api/image",
        python_module="custom_nodes.websocket_image_save",
        is_output=True,
        always_runs=True,
    ),
)

TABLE: NodeTable = {row.name: row for row in (*_LOADERS, *_CONDITIONING, *_LATENTS, *_PICTURES)}
