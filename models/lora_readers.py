"""Who loads which LoRA: ComfyUI and diffusers each know some namings, and skip the rest unsaid.

ComfyUI: comfy/lora.py, model_lora_keys_unet() and load_lora(), and comfy/lora_convert.py. It takes
a key whose stem is in its map, whatever the style. XLabs' names it rewrites only in a file that
changes the last double and the last single block of a full FLUX.1.

diffusers 0.42.1: FluxPipeline.lora_state_dict() and load_lora_adapter(). It judges a file as a
whole: one `.lora_down.weight` makes it a kohya file, whose alphas count for `lora_unet_` names
alone and whose layers outside the blocks are lost.

The two differ in scale as well, where alpha is not the rank; differences() says it in sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from models import lora_scale
from models.flux import FLUX_DEV
from models.lora import LoraFile, LoraLayer
from models.lora_keys import Family, Style

_COMFYUI = (
    *(Family.PEFT, Family.DIFFUSERS_OLD, Family.REFERENCE),
    *(Family.KOHYA, Family.ONETRAINER, Family.LYCORIS),
)
_XLABS_MARKS = (
    "single_blocks.37.processor.qkv_lora.up.weight",
    "double_blocks.18.processor.qkv_lora2.up.weight",
)
_OLD_NAMES = (Family.PEFT, Family.DIFFUSERS_OLD)


@dataclass(frozen=True, slots=True)
class Readers:
    """Which layers of a file each program applies; shapes are not its matter."""

    comfyui: tuple[LoraLayer, ...]
    diffusers: tuple[LoraLayer, ...]


def readers(lora: LoraFile) -> Readers:
    """Find out who loads what."""
    ups = {layer.up.name for layer in lora.layers}
    marked = ups.issuperset(_XLABS_MARKS)
    return Readers(
        tuple(layer for layer in lora.layers if _comfyui_loads(layer, marked)),
        tuple(_diffusers_loads(lora)),
    )


def _comfyui_loads(layer: LoraLayer, marked: bool) -> bool:
    if layer.family is Family.XLABS:
        return marked and not layer.up.name.startswith("diffusion_model.")
    return layer.family in _COMFYUI


def _diffusers_loads(lora: LoraFile) -> Iterator[LoraLayer]:
    if _refused_by_diffusers(lora):
        return
    kohya = any(layer.style is Style.DOWN_UP for layer in lora.layers)
    named = any(layer.family in _OLD_NAMES for layer in lora.layers)
    for layer in lora.layers:
        if layer.family in _OLD_NAMES:
            yield from [layer] * (layer.style in (Style.AB, Style.OLD, Style.DOWN_UP))
        elif kohya and not named and layer.family in (Family.KOHYA, Family.REFERENCE):
            yield from [layer] * _kohya_layer(layer)
        elif layer.family is Family.XLABS and not kohya:
            yield layer


def _refused_by_diffusers(lora: LoraFile) -> bool:
    """Whether it raises an error instead of loading anything."""
    alphas = any(layer.alpha is not None for layer in lora.layers)
    if lora_scale.KEY in lora.metadata and alphas:
        return True
    return alphas and any(layer.family is Family.XLABS for layer in lora.layers)


def _kohya_layer(layer: LoraLayer) -> bool:
    """Whether its converter knows the layer: those of the blocks, of FLUX.1's width."""
    fused = ".linear1" in layer.module
    wide = layer.rows == 3 * FLUX_DEV.hidden + FLUX_DEV.mlp
    return layer.style is Style.DOWN_UP and "_blocks." in layer.module and (wide or not fused)


def differences(lora: LoraFile) -> list[str]:
    """Where ComfyUI and diffusers would draw different pictures, though both load the file."""
    return list(_differences(lora))


def _differences(lora: LoraFile) -> Iterator[str]:
    stated = [layer for layer in lora.layers if layer.scale != layer.scale_in_comfyui]
    if stated:
        yield (
            f"the scale of {len(stated)} layers ({stated[0].scale:g}) stands in the metadata only: "
            f"diffusers uses it, ComfyUI takes {stated[0].scale_in_comfyui:g}"
        )
    if lora_scale.KEY in lora.metadata and any(x.alpha is not None for x in lora.layers):
        yield f"diffusers refuses it: it has alpha keys and {lora_scale.KEY}; ComfyUI loads it"
        return
    named = [layer for layer in lora.layers if layer.family in _OLD_NAMES]
    yield from _alpha_differences(named)


def _alpha_differences(named: list[LoraLayer]) -> Iterator[str]:
    with_alpha = [layer for layer in named if layer.alpha is not None]
    scaled = [layer for layer in with_alpha if layer.scale != 1]
    if any(layer.style is Style.DOWN_UP for layer in named):
        if scaled:
            yield (
                f"diffusers ignores the alpha keys of {len(scaled)} layers, since their names end "
                f"in {Style.DOWN_UP.value[0]}: it takes 1, ComfyUI {scaled[0].scale:g}"
            )
    elif with_alpha and len(with_alpha) < len(named):
        yield (
            f"{len(with_alpha)} of {len(named)} layers have an alpha: diffusers uses the most "
            "frequent one for the others as well, ComfyUI a scale of 1"
        )
