"""Random weights of the micro T5 encoder, in the names of Hugging Face's T5EncoderModel."""

from models.micro.draw import Draw, Weights, ones
from models.micro.spec import T5Sizes


def weights(sizes: T5Sizes, vocabulary: int, seed: int) -> Weights:
    """Every tensor; T5's linear layers have no bias and its norms no shift."""
    draw = Draw(seed)
    shared = "shared.weight"
    tensors: Weights = {shared: draw.normal(shared, (vocabulary, sizes.width), 1.0)}
    for index in range(sizes.layers):
        tensors |= _block(draw, f"encoder.block.{index}", sizes)
    # The first layer's position bias serves all layers: (distance bucket, head).
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    tensors[bias] = draw.normal(bias, (sizes.buckets, sizes.heads), 1.0)
    tensors["encoder.final_layer_norm.weight"] = ones(sizes.width)
    return tensors


def _block(draw: Draw, block: str, sizes: T5Sizes) -> Weights:
    width, mlp = sizes.width, sizes.mlp
    attention, dense = f"{block}.layer.0.SelfAttention", f"{block}.layer.1.DenseReluDense"
    # T5 does not divide the logits by the root of the head's width: the query weight does it.
    gains = {"q": (width / sizes.heads) ** -0.5, "k": 1.0, "v": 1.0, "o": 1.0}
    tensors = {
        f"{attention}.{name}.weight": draw.layer(f"{attention}.{name}.weight", (width, width), gain)
        for name, gain in gains.items()
    }
    for name, shape in {"wi_0": (mlp, width), "wi_1": (mlp, width), "wo": (width, mlp)}.items():
        tensors[f"{dense}.{name}.weight"] = draw.layer(f"{dense}.{name}.weight", shape)
    return tensors | {f"{block}.layer.{part}.layer_norm.weight": ones(width) for part in (0, 1)}
