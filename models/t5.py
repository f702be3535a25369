"""What a T5 encoder is made of, in Hugging Face's names and in llama.cpp's.

    encoder.block.3.layer.1.DenseReluDense.wo.weight  ->  enc.blk.3.ffn_down.weight

The encoder is FLUX.1's second text encoder (T5-XXL v1.1: 24 layers, gated GELU). GGUF files have
llama.cpp's names, and its architecture `t5encoder` with the sizes as values, so that llama.cpp can
read them too; ComfyUI-GGUF asks for the architecture and the names alone.

Any width is T5 to this file. It reads no files and computes nothing with weights.
Sources: llama.cpp's names in the gguf package, MODEL_ARCH.T5ENCODER; transformers, T5EncoderModel.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from models.errors import ModelError

ARCHITECTURE = "t5encoder"
TOKENS = 512  # `n_positions` of every T5; its relative positions know no true limit
NORM_EPSILON = 1e-6

# Hugging Face's names inside a block to llama.cpp's.
_ATTENTION = {name: f"attn_{name}" for name in "qkvo"}
_DENSE = {"wi_0": "ffn_gate", "wi_1": "ffn_up", "wo": "ffn_down"}

EMBEDDING = "shared.weight"
_EMBEDDING_AGAIN = "encoder.embed_tokens.weight"  # the same weights, where a file has both
_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"

# A whole T5 is an encoder and a decoder; only the encoder is used.
_DECODER = ("decoder.", "lm_head.")


@dataclass(frozen=True, slots=True)
class T5Shape:
    """The sizes that set every tensor of a T5 encoder.

    Attributes:
        words: entries of the vocabulary.
        width: width of a token.
        inner: width of all attention heads together.
        heads: attention heads.
        buckets: distances that the position bias tells apart.
        mlp: inner width of the MLPs.
        layers: blocks.
    """

    words: int
    width: int
    inner: int
    heads: int
    buckets: int
    mlp: int
    layers: int


XXL = T5Shape(words=32128, width=4096, inner=4096, heads=64, buckets=32, mlp=10240, layers=24)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A T5 encoder found in a file.

    Attributes:
        shape: its sizes.
        tensors: llama.cpp's name to the file's own name; the file's order.
        left_out: names of the file that are not the encoder's.
    """

    shape: T5Shape
    tensors: Mapping[str, str]
    left_out: tuple[str, ...]


def is_t5(names: Iterable[str]) -> bool:
    """Whether these are Hugging Face's names of a T5 (or of its encoder)."""
    return any(name.startswith("encoder.block.0.layer.0.SelfAttention.") for name in names)


def tensor_shapes(shape: T5Shape) -> dict[str, tuple[int, ...]]:
    """llama.cpp's name to row-major shape of every tensor, in the model's order."""
    sizes = source_shapes(shape)
    return {ours: sizes[theirs] for theirs, ours in gguf_names(shape).items()}


def gguf_names(shape: T5Shape) -> dict[str, str]:
    """Hugging Face's name to llama.cpp's, of every tensor."""
    return dict(_names(shape.layers))


def _names(layers: int) -> Iterator[tuple[str, str]]:
    yield EMBEDDING, "token_embd.weight"
    for index in range(layers):
        theirs, ours = f"encoder.block.{index}.layer", f"enc.blk.{index}"
        for name, own in _ATTENTION.items():
            yield f"{theirs}.0.SelfAttention.{name}.weight", f"{ours}.{own}.weight"
        if index == 0:  # the first block's position bias serves all
            yield _BIAS, f"{ours}.attn_rel_b.weight"
        yield f"{theirs}.0.layer_norm.weight", f"{ours}.attn_norm.weight"
        for name, own in _DENSE.items():
            yield f"{theirs}.1.DenseReluDense.{name}.weight", f"{ours}.{own}.weight"
        yield f"{theirs}.1.layer_norm.weight", f"{ours}.ffn_norm.weight"
    yield "encoder.final_layer_norm.weight", "enc.output_norm.weight"


def source_shapes(shape: T5Shape) -> dict[str, tuple[int, ...]]:
    """Hugging Face's name to row-major shape of every tensor, in the model's order."""
    parts = {
        "q": (shape.inner, shape.width),
        "k": (shape.inner, shape.width),
        "v": (shape.inner, shape.width),
        "o": (shape.width, shape.inner),
        "wi_0": (shape.mlp, shape.width),
        "wi_1": (shape.mlp, shape.width),
        "wo": (shape.width, shape.mlp),
        "shared": (shape.words, shape.width),
        "relative_attention_bias": (shape.buckets, shape.heads),
    }
    return {name: parts.get(name.split(".")[-2], (shape.width,)) for name in gguf_names(shape)}


def find(shapes: Mapping[str, tuple[int, ...]]) -> Encoder:
    """Recognise a T5 encoder by names and shapes.

    Raises:
        ModelError: it is another T5, something is missing or misfits, or does not belong.
    """
    own = {name: name for name in shapes}
    if EMBEDDING not in own and _EMBEDDING_AGAIN in own:
        own[EMBEDDING] = own.pop(_EMBEDDING_AGAIN)
    named = {name: shapes[source] for name, source in own.items()}
    shape = _shape(named)
    names, wanted = gguf_names(shape), source_shapes(shape)
    wrong = [f"{name} of shape {size}" for name, size in wanted.items() if named.get(name) != size]
    if wrong:
        raise _refusal("the T5 encoder is not complete", "missing or misfit:", wrong)
    extra = [name for name in own if name not in names]
    strangers = [n for n in extra if not n.startswith(_DECODER) and n != _EMBEDDING_AGAIN]
    if strangers:
        raise _refusal("tensors of the source are not a T5 encoder's", "no rule for", strangers)
    tensors = {names[name]: source for name, source in own.items() if name in names}
    return Encoder(shape, tensors, tuple(extra))


def find_in_gguf(shapes: Mapping[str, tuple[int, ...]]) -> Encoder:
    """Like find(), for the tensors of a GGUF file, which have llama.cpp's names."""
    blocks = {name.split(".")[2] for name in shapes if name.startswith("enc.blk.")}
    theirs = {ours: name for name, ours in _names(len(blocks))}
    return find({theirs.get(name, name): shape for name, shape in shapes.items()})


def _shape(shapes: Mapping[str, tuple[int, ...]]) -> T5Shape:
    block = "encoder.block.0.layer"
    try:
        words, width = shapes[EMBEDDING]
        inner, _ = shapes[f"{block}.0.SelfAttention.q.weight"]
        buckets, heads = shapes[_BIAS]
        mlp, _ = shapes[f"{block}.1.DenseReluDense.wi_0.weight"]
        if inner % heads:
            raise ValueError  # noqa: TRY301 - one refusal for all that is no T5
    except (KeyError, ValueError, ZeroDivisionError):
        raise _refusal(
            "the tensors are not those of a T5 v1.1 encoder",
            "an embedding, position bias or gated MLP is missing; there are",
            list(shapes),
        ) from None
    layers = {name.split(".")[2] for name in shapes if name.startswith("encoder.block.")}
    return T5Shape(words, width, inner, heads, buckets, mlp, len(layers))


def _refusal(what: str, lead: str, names: list[str]) -> ModelError:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ModelError(
        what,
        why=f"{lead} {', '.join(names[:3])}{more}",
        fix="Use FLUX.1's T5-XXL encoder, such as t5xxl_fp16.safetensors",
    )


def values(shape: T5Shape) -> list[tuple[str, int | float]]:
    """The GGUF metadata that llama.cpp builds the encoder from."""
    head = shape.inner // max(1, shape.heads)
    return [
        (f"{ARCHITECTURE}.context_length", TOKENS),
        (f"{ARCHITECTURE}.embedding_length", shape.width),
        (f"{ARCHITECTURE}.feed_forward_length", shape.mlp),
        (f"{ARCHITECTURE}.block_count", shape.layers),
        (f"{ARCHITECTURE}.attention.head_count", shape.heads),
        (f"{ARCHITECTURE}.attention.key_length", head),
        (f"{ARCHITECTURE}.attention.value_length", head),
        (f"{ARCHITECTURE}.attention.layer_norm_epsilon", NORM_EPSILON),
        (f"{ARCHITECTURE}.attention.relative_buckets_count", shape.buckets),
        (f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon", NORM_EPSILON),
    ]
