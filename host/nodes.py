"""The node table: every class_type that this host runs, with its inputs, outputs and function.

Names, defaults, limits, tooltips and categories are ComfyUI's (and ComfyUI-GGUF's), so that its
clients' own checks pass; combo lists hold only what really runs here.
"""

from host import node_functions as run
from host.node_inputs import (
    MAX_SIZE,
    combo,
    files,
    fixed,
    integer,
    latent_size,
    number,
    stamps,
    wire,
)
from host.node_types import Input, NodeTable, NodeType

MAX_SEED = 0xFFFFFFFFFFFFFFFF
SAMPLERS = ("euler",)
SCHEDULERS = ("simple", "normal")
CLIP_TYPES = ("flux",)


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
        output_tooltips=("The modified diffusion model.",),
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

_CONDITIONING = (
    NodeType(
        "CLIPTextEncode",
        (
            Input(
                "text",
                "STRING",
                {"multiline": True, "dynamicPrompts": True, "tooltip": "The text to be encoded."},
            ),
            wire("clip", "CLIP", "The CLIP model used for encoding the text."),
        ),
        ("CONDITIONING",),
        run.encode_text,
        display_name="CLIP Text Encode (Prompt)",
        category="conditioning",
        description="Encodes a text prompt into an embedding that guides the diffusion model.",
    ),
    NodeType(
        "FluxGuidance",
        (wire("conditioning", "CONDITIONING"), number("guidance", 3.5, 0.0, 100.0, step=0.1)),
        ("CONDITIONING",),
        run.set_guidance,
        category="advanced/conditioning/flux",
        python_module="comfy_extras.nodes_flux",
    ),
    NodeType(
        "ConditioningZeroOut",
        (wire("conditioning", "CONDITIONING"),),
        ("CONDITIONING",),
        run.zero_out,
        category="advanced/conditioning",
    ),
)

_BATCH = integer("batch_size", 1, 1, 4096)

_LATENTS = (
    NodeType(
        "EmptySD3LatentImage",
        (latent_size("width", 1024, 16), latent_size("height", 1024, 16), _BATCH),
        ("LATENT",),
        run.empty_latent,
        category="latent/sd3",
        python_module="comfy_extras.nodes_sd3",
    ),
    NodeType(
        "EmptyLatentImage",
        (latent_size("width", 512, 8), latent_size("height", 512, 8), _BATCH),
        ("LATENT",),
        run.empty_latent,
        display_name="Empty Latent Image",
        category="latent",
        description="Create a new batch of empty latent images to be denoised via sampling.",
    ),
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
    NodeType(
        "VAEDecode",
        (
            wire("samples", "LATENT", "The latent to be decoded."),
            wire("vae", "VAE", "The VAE model used for decoding the latent."),
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
            integer("width", 512, 1, MAX_SIZE, step=1),
            integer("height", 512, 1, MAX_SIZE, step=1),
            _BATCH,
            integer("color", 0, 0, 0xFFFFFF, step=1, display="color"),
        ),
        ("IMAGE",),
        run.empty_image,
        category="image",
    ),
    NodeType(
        "SaveImage",
        (
            wire("images", "IMAGE", "The images to save."),
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
        (wire("images", "IMAGE"),),
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
        (wire("images", "IMAGE"),),
        (),
        run.send_image,
        category="api/image",
        python_module="custom_nodes.websocket_image_save",
        is_output=True,
        always_runs=True,
    ),
)

TABLE: NodeTable = {row.name: row for row in (*_LOADERS, *_CONDITIONING, *_LATENTS, *_PICTURES)}
