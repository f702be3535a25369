"""Modules of a unet's companions: the text encoders, which ComfyUI loads as one, and the VAE.

Whatever their files, ComfyUI keeps them in 2 bytes a weight, T5 in FP8 in one, and T5 in a GGUF as
it is packed. Where no file is at hand, T5-XXL, CLIP-L and FLUX.1's autoencoder have known shapes.

Sources: ComfyUI 0.3.64, comfy/text_encoders/flux.py, comfy/sd1_clip.py:85-134, comfy/clip_model.py,
comfy/sd.py:277; ComfyUI-GGUF 795e451, ops.py:85-110, loader.py:420.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

from models import t5
from models.safetensors_file import SafetensorsFile
from models.tensor_types import byte_size
from models.vram_modules import (
    COMPUTE_BYTES,
    TORCH_TYPES,
    Module,
    Sized,
    Weights,
    cast,
    largest,
)

_LOGIT_SCALES = 2 * 4  # bytes: CLIP's and T5's (comfy/sd1_clip.py:134), in no module of their own
_CLIP, _T5 = "clip_l.transformer.", "t5xxl.transformer."
CLIP_L_WIDTH, CLIP_L_LAYERS, CLIP_L_WORDS, CLIP_L_PLACES = 768, 12, 49408, 77
_AE_WIDTHS, _AE_LATENT = (128, 256, 512, 512), 16


# --- text encoders --------------------------------------------------------------------------------


def encoders(clip: Sequence[Module], t5_modules: Sequence[Module]) -> Weights:
    """CLIP-L and T5 together: ComfyUI loads them as one model."""
    return Weights("FluxClipModel_", (*clip, *t5_modules), _LOGIT_SCALES)


def t5_gguf(tensors: Iterable[Sized]) -> tuple[Module, ...]:
    """Modules of a T5 encoder in a GGUF, with llama.cpp's names."""
    listed = list(tensors)
    blocks = {name.split(".")[2] for name, _, _ in listed if name.startswith("enc.blk.")}
    theirs = {ours: name for name, ours in _t5_names(len(blocks)).items()}
    most = largest(listed)
    return tuple(
        _t5_module(theirs.get(name, name), (name, shape, kind), name == most)
        for name, shape, kind in listed
    )


def _t5_names(layers: int) -> Mapping[str, str]:
    return t5.gguf_names(t5.T5Shape(0, 0, 0, 0, 0, 0, layers))


def _t5_module(name: str, tensor: Sized, largest: bool) -> Module:
    _, shape, kind = tensor
    module = f"{_T5}{name.removesuffix('.weight')}"
    plain = len(shape) == 1 or module.endswith("relative_attention_bias")
    if plain or (kind in TORCH_TYPES and name == t5.EMBEDDING):
        size = prod(shape) * COMPUTE_BYTES
        return Module(module, size, size, castable=len(shape) > 1)
    size = byte_size(shape, kind)
    unpacked = 0 if kind in TORCH_TYPES else prod(shape) * COMPUTE_BYTES
    return Module(module, size + (prod(shape) * 2 if largest else 0), size, unpacked=unpacked)


def t5_plain(bytes_each: int) -> tuple[Module, ...]:
    """Modules of a T5-XXL in safetensors: 2 bytes a weight, or 1 for FP8."""
    return tuple(
        Module(
            f"{_T5}{name.removesuffix('.weight')}",
            prod(shape) * bytes_each,
            prod(shape) * bytes_each,
            castable=len(shape) > 1,
            unpacked=cast(prod(shape) * bytes_each, bytes_each),
        )
        for name, shape in t5.source_shapes(t5.XXL).items()
    )


def clip_l(*, gguf_loader: bool) -> tuple[Module, ...]:
    """Modules of CLIP-L, 2 bytes a weight; the GGUF loader makes its unused projection in F32."""
    width = CLIP_L_WIDTH
    linear, wide = width * width + width, 4 * width * width
    sizes = {
        "text_model.embeddings.token_embedding": CLIP_L_WORDS * width,
        "text_model.embeddings.position_embedding": CLIP_L_PLACES * width,
        "text_model.final_layer_norm": 2 * width,
    }
    for layer in range(CLIP_L_LAYERS):
        block = f"text_model.encoder.layers.{layer}"
        sizes |= {f"{block}.self_attn.{name}_proj": linear for name in ("q", "k", "v", "out")}
        sizes |= {f"{block}.layer_norm{number}": 2 * width for number in (1, 2)}
        sizes |= {f"{block}.mlp.fc1": wide + 4 * width, f"{block}.mlp.fc2": wide + width}
    modules = [_halves(name, weights) for name, weights in sizes.items()]
    projection = width * width * (4 if gguf_loader else COMPUTE_BYTES)
    return (*modules, Module(f"{_CLIP}text_projection", projection, projection))


def _halves(name: str, weights: int) -> Module:
    size = weights * COMPUTE_BYTES
    return Module(f"{_CLIP}{name}", size, size)


# --- the autoencoder ------------------------------------------------------------------------------


def vae(header: SafetensorsFile | None) -> Weights:
    """Modules of an autoencoder, which ComfyUI keeps in BF16; FLUX.1's where no file is given."""
    grouped: dict[str, int] = {}
    if header is None:
        grouped = dict(_autoencoder())
    else:
        for tensor in header.tensors:
            module = tensor.name.rpartition(".")[0]
            grouped[module] = grouped.get(module, 0) + prod(tensor.shape)
    sizes = {name: weights * COMPUTE_BYTES for name, weights in grouped.items()}
    modules = tuple(Module(name, size, size) for name, size in sizes.items())
    return Weights("AutoencodingEngine", modules)


def _autoencoder() -> Iterator[tuple[str, int]]:
    """Weights of each module of FLUX.1's autoencoder; black-forest-labs/flux, autoencoder.py."""
    last = len(_AE_WIDTHS) - 1
    yield "encoder.conv_in", _conv(3, _AE_WIDTHS[0])
    width = _AE_WIDTHS[0]
    for level, out in enumerate(_AE_WIDTHS):
        for block in range(2):
            yield from _residual(f"encoder.down.{level}.block.{block}", width, out)
            width = out
        if level < last:
            yield f"encoder.down.{level}.downsample.conv", _conv(out, out)
    yield from _middle("encoder", width, 2 * _AE_LATENT)
    yield "decoder.conv_in", _conv(_AE_LATENT, width)
    for level in range(last, -1, -1):
        for block in range(3):
            yield from _residual(f"decoder.up.{level}.block.{block}", width, _AE_WIDTHS[level])
            width = _AE_WIDTHS[level]
        if level:
            yield f"decoder.up.{level}.upsample.conv", _conv(width, width)
    yield from _middle("decoder", _AE_WIDTHS[-1], 3, width)


def _middle(half: str, width: int, out: int, last: int = 0) -> Iterator[tuple[str, int]]:
    for block in ("block_1", "block_2"):
        yield from _residual(f"{half}.mid.{block}", width, width)
    yield f"{half}.mid.attn_1.norm", 2 * width
    for name in ("q", "k", "v", "proj_out"):
        yield f"{half}.mid.attn_1.{name}", width * width + width
    yield f"{half}.norm_out", 2 * (last or width)
    yield f"{half}.conv_out", _conv(last or width, out)


def _residual(block: str, width: int, out: int) -> Iterator[tuple[str, int]]:
    yield f"{block}.norm1", 2 * width
    yield f"{block}.conv1", _conv(width, out)
    yield f"{block}.norm2", 2 * out
    yield f"{block}.conv2", _conv(out, out)
    if width != out:
        yield f"{block}.nin_shortcut", width * out + out


def _conv(width: int, out: int) -> int:
    """Weights of a 3 x 3 convolution and its bias."""
    return 9 * width * out + out
