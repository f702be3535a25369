"""The two text encoders of Flux, CLIP-L and T5, of any size, from single files.

Sizes are read from the tensors' shapes. Safetensors have the names of transformers; a T5 in GGUF
has llama.cpp's. Follows ComfyUI: CLIP gives its pooled output at the end token of 77, T5 all its
tokens, padded to at least 256 and without a mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from host import tokenizer_files
from host.errors import RenderError
from host.packed import Packed, WeightFile, open_weights
from host.packed_model import build

CLIP_TOKENS = 77
CLIP_HEAD_DIM = 64
T5_TOKENS = 256
"""Least number of T5 tokens, unless the tokenizer itself says how far to pad."""

_LLAMA_CPP = {
    "token_embd": "shared",
    "enc.output_norm": "encoder.final_layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
"""llama.cpp's names of T5 layers to transformers'."""


@dataclass(frozen=True, slots=True)
class ClipL:
    """A loaded CLIP text model with its tokenizer."""

    model: CLIPTextModel
    tokenizer: Tokenizer

    def encode(self, text: str) -> torch.Tensor:
        """Return the pooled output, float32, shape (1, width)."""
        ids = torch.tensor([self.tokenizer.encode(text).ids], device=self.model.device)
        pooled: torch.Tensor = self.model(input_ids=ids).pooler_output
        return pooled.float()


@dataclass(frozen=True, slots=True)
class T5:
    """A loaded T5 encoder with its tokenizer."""

    model: T5EncoderModel
    tokenizer: Tokenizer

    def encode(self, text: str) -> torch.Tensor:
        """Return all tokens, float32, shape (1, tokens, width)."""
        ids = self.tokenizer.encode(text).ids
        if self.tokenizer.padding is None:
            ids = ids + [0] * (T5_TOKENS - len(ids))  # 0 is T5's padding
        tokens = torch.tensor([ids], device=self.model.device)
        # All ones, not the padding's mask: Flux was trained on unmasked padding.
        mask = torch.ones_like(tokens)
        encoded: torch.Tensor = self.model(input_ids=tokens, attention_mask=mask)[0]
        return encoded.float()


def is_t5(file: WeightFile) -> bool:
    """Return whether a file holds a T5 (DualCLIPLoader takes its two files in any order)."""
    names = file.tensors
    return "shared.weight" in names or "token_embd.weight" in names


# --- CLIP ---


def load_clip(file: WeightFile, models: Path, *, dtype: torch.dtype, device: torch.device) -> ClipL:
    """Load a CLIP text model.

    Raises:
        RenderError: the file is no CLIP text model, or its tokenizer is missing.
    """
    weights = {name.removeprefix("text_model."): one for name, one in file.tensors.items()}
    tokenizer = tokenizer_files.find("clip_l", file.metadata, models, file.path)
    _frame(tokenizer)
    begin, end = tokenizer.encode("").ids[:2]
    config = _clip_config(weights, begin, end, file.path)
    model = build(
        lambda: CLIPTextModel(config), weights, dtype=dtype, device=device, path=file.path
    )
    return ClipL(model, tokenizer)


def _frame(tokenizer: Tokenizer) -> None:
    """Make a tokenizer give 77 tokens, if it does not do so by itself."""
    if tokenizer.truncation is None:
        tokenizer.enable_truncation(CLIP_TOKENS)
    if tokenizer.padding is None:
        end = tokenizer.encode("").ids[1]
        tokenizer.enable_padding(length=CLIP_TOKENS, pad_id=end)


def _clip_config(weights: Mapping[str, Packed], begin: int, end: int, path: Path) -> CLIPTextConfig:
    try:
        words, width = weights["embeddings.token_embedding.weight"].shape
        positions, _ = weights["embeddings.position_embedding.weight"].shape
        mlp, _ = weights["encoder.layers.0.mlp.fc1.weight"].shape
    except (KeyError, ValueError):
        raise _foreign("CLIP-L", path) from None
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=_count(weights, "encoder.layers."),
        num_attention_heads=max(1, width // CLIP_HEAD_DIM),
        max_position_embeddings=positions,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=end,
    )


# --- T5 ---


def load_t5(file: WeightFile, models: Path, *, dtype: torch.dtype, device: torch.device) -> T5:
    """Load a T5 encoder.

    Raises:
        RenderError: the file is no T5 encoder, or its tokenizer is missing.
    """
    weights = {_t5_name(name): packed for name, packed in file.tensors.items()}
    tokenizer = tokenizer_files.find("t5xxl", file.metadata, models, file.path)
    config = _t5_config(weights, file.path)
    weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
    model = build(
        lambda: T5EncoderModel(config), weights, dtype=dtype, device=device, path=file.path
    )
    return T5(model, tokenizer)


def _t5_config(weights: Mapping[str, Packed], path: Path) -> T5Config:
    block = "encoder.block.0.layer"
    try:
        words, width = weights["shared.weight"].shape
        inner, _ = weights[f"{block}.0.SelfAttention.q.weight"].shape
        bias = weights[f"{block}.0.SelfAttention.relative_attention_bias.weight"]
        buckets, heads = bias.shape
        mlp, _ = weights[f"{block}.1.DenseReluDense.wi_0.weight"].shape
    except (KeyError, ValueError):
        raise _foreign("T5 encoder", path) from None
    return T5Config(
        vocab_size=words,
        d_model=width,
        d_kv=inner // heads,
        d_ff=mlp,
        num_layers=_count(weights, "encoder.block."),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        use_cache=False,
    )


def _t5_name(name: str) -> str:
    """Return transformers' name of a tensor that may have llama.cpp's."""
    stem, dot, part = name.rpartition(".")
    if stem in _LLAMA_CPP:
        return f"{_LLAMA_CPP[stem]}{dot}{part}"
    if stem.startswith("enc.blk."):
        _, _, number, layer = stem.split(".", 3)
        return f"encoder.block.{number}.{_LLAMA_CPP.get(layer, layer)}{dot}{part}"
    return name


# --- both ---


def open_encoder(path: Path) -> WeightFile:
    """Map a text encoder's file.

    Raises:
        ModelError: it is damaged.
    """
    return open_weights(path)


def _count(weights: Mapping[str, Packed], prefix: str) -> int:
    numbers = {name.removeprefix(prefix).split(".")[0] for name in weights if prefix in name}
    return len({number for number in numbers if number.isdigit()})


def _foreign(what: str, path: Path) -> RenderError:
    return RenderError(
        f"the file is no {what}",
        path=path,
        fix="Choose Flux's two text encoders: clip_l and t5xxl",
    )
