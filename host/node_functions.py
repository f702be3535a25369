"""What each node does: a function per node, called with the node's inputs by name.

All are thin: one call of the engine (:mod:`host.engine`) or of :mod:`host.images`. Which class_type
calls which function, and with what inputs, is the table in :mod:`host.nodes`.
"""

from pathlib import Path
from typing import Any

from host.folders import TEMP_PREFIX, Folders
from host.messages import ImageFormat
from host.node_types import Context, Picture, Result
from host.values import Clip, Conditioning, Latent, Model, ModelFile, Vae

# --- loaders ---


def load_unet_gguf(context: Context, *, unet_name: str) -> Result:
    """UnetLoaderGGUF: open a quantised unet; fails here if the file is not one."""
    path = context.folders.model("unet_gguf", unet_name)
    return Result((context.engine.load_unet(ModelFile.of(path)),))


def load_unet(context: Context, *, unet_name: str, weight_dtype: str) -> Result:
    """UNETLoader: the same for safetensors; weights are always kept as the file has them."""
    del weight_dtype
    path = context.folders.model("diffusion_models", unet_name)
    return Result((context.engine.load_unet(ModelFile.of(path)),))


def load_lora(context: Context, *, model: Model, lora_name: str, strength_model: float) -> Result:
    """LoraLoaderModelOnly: put a LoRA on a model; strength 0 leaves the model as it is."""
    if strength_model == 0:
        return Result((model,))
    lora = ModelFile.of(context.folders.model("loras", lora_name))
    return Result((context.engine.add_lora(model, lora, strength_model),))


def load_clips(
    context: Context,
    *,
    clip_name1: str,
    clip_name2: str,
    type: str,  # noqa: A002 - ComfyUI's name for this input
    device: str = "default",
) -> Result:
    """DualCLIPLoader(GGUF): the two text encoders, in either order."""
    del type, device
    first, second = (_text_encoder(context.folders, name) for name in (clip_name1, clip_name2))
    return Result((context.engine.load_clips(ModelFile.of(first), ModelFile.of(second)),))


def load_vae(context: Context, *, vae_name: str) -> Result:
    """VAELoader: open a VAE."""
    return Result((context.engine.load_vae(ModelFile.of(context.folders.model("vae", vae_name))),))


def _text_encoder(folders: Folders, name: str) -> Path:
    kind = "clip_gguf" if name.lower().endswith(".gguf") else "text_encoders"
    return folders.model(kind, name)


# --- conditioning ---


def encode_text(context: Context, *, text: str, clip: Clip) -> Result:
    """CLIPTextEncode: a prompt becomes tensors."""
    return Result((context.engine.encode(clip, text),))


def set_guidance(context: Context, *, conditioning: Conditioning, guidance: float) -> Result:
    """FluxGuidance: set Flux's embedded guidance."""
    return Result((context.engine.with_guidance(conditioning, guidance),))


def zero_out(context: Context, *, conditioning: Conditioning) -> Result:
    """ConditioningZeroOut: the same shape without content."""
    return Result((context.engine.zero_out(conditioning),))


# --- latents and sampling ---


def empty_latent(context: Context, *, width: int, height: int, batch_size: int) -> Result:
    """EmptySD3LatentImage, EmptyLatentImage: zeros to start from.

    ComfyUI gives 4 channels from the latter and widens them in the sampler; here both are 16 wide.
    """
    return Result((context.engine.empty_latent(width, height, batch_size),))


def sample(
    context: Context,
    *,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float,
) -> Result:
    """KSampler: denoise, reporting every step."""
    del sampler_name  # the only one that the table offers is euler
    samples = None
    for step in context.engine.sample(
        model,
        positive,
        negative,
        latent_image,
        seed=seed,
        steps=steps,
        cfg=cfg,
        scheduler=scheduler,
        denoise=denoise,
        previews=context.previews,
    ):
        context.progress(step.number, step.total, step.preview)
        samples = step.latent
    return Result((samples if samples is not None else latent_image,))


def decode(context: Context, *, samples: Latent, vae: Vae) -> Result:
    """VAEDecode: a latent becomes pixels."""
    return Result((context.engine.decode(vae, samples),))


# --- pictures ---


def empty_image(
    context: Context, *, width: int, height: int, batch_size: int, color: int
) -> Result:
    """EmptyImage: one colour; needs no model, so it is what probes and benchmarks use."""
    from host.images import blank  # numpy and Pillow load with the first picture, not at start

    del context
    return Result((blank(width, height, batch_size, color),))


def save_image(context: Context, *, images: Any, filename_prefix: str) -> Result:
    """SaveImage: PNG files with the graph inside."""
    from host.images import SAVE_LEVEL

    return _save(context, images, context.folders.output, filename_prefix, "output", SAVE_LEVEL)


def preview_image(context: Context, *, images: Any) -> Result:
    """PreviewImage: the same into the temp folder, under a random name."""
    from host.images import TEMP_LEVEL

    prefix = f"{TEMP_PREFIX}{context.random_name()}"
    return _save(context, images, context.folders.temp, prefix, "temp", TEMP_LEVEL)


def send_image(context: Context, *, images: Any) -> Result:
    """SaveImageWebsocket: PNG frames to the client, no file."""
    from host.images import SAVE_LEVEL, to_png

    for index, pixels in enumerate(images):
        png = to_png(pixels, {}, level=SAVE_LEVEL)
        context.progress(index, len(images), Picture(png, ImageFormat.PNG))
    return Result()


def _save(context: Context, images: Any, root: Path, prefix: str, kind: str, level: int) -> Result:
    from host.images import save, text_chunks

    text = text_chunks(context.graph, context.extra_pnginfo)
    saved = save(root, prefix, images, text, when=context.now(), level=level)
    shown = [{**place, "type": kind} for _, place in saved]
    return Result((), {"images": shown}, tuple(path for path, _ in saved))
