"""What the nodes of :mod:`host.loader_nodes` do: one call of the engine each."""

import logging
from pathlib import Path

from host.folders import Folders
from host.node_types import Context, Result
from host.values import Clip, Model, ModelFile

logger = logging.getLogger(__name__)


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


def load_lora_beside_clip(
    context: Context,
    *,
    model: Model,
    clip: Clip,
    lora_name: str,
    strength_model: float,
    strength_clip: float,
) -> Result:
    """LoraLoader: the same, with the text encoders passed on as they are.

    ComfyUI would change these too if the LoRA has keys for them; here the log says that it has.
    """
    lora = ModelFile.of(context.folders.model("loras", lora_name))
    left_out = context.engine.text_keys(model, lora) if strength_clip != 0 else 0
    if left_out:
        logger.warning(
            "%s: its %d tensors for text encoders are left out, so pictures differ from ComfyUI's; "
            "with strength_clip 0, or LoraLoaderModelOnly, they are alike",
            lora_name,
            left_out,
        )
    changed = load_lora(context, model=model, lora_name=lora_name, strength_model=strength_model)
    return Result((*changed.outputs, clip))


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
