"""Random weights of the micro CLIP text encoder, in the names of Hugging Face's CLIPTextModel."""

from models.micro.draw import Draw, Weights, norm
from models.micro.spec import ClipSizes


def weights(sizes: ClipSizes, vocabulary: int, seed: int) -> Weights:
    """Every tensor of the text model; there is no projection, as in FLUX.1's clip_l."""
    draw = Draw(seed)
    embeddings = {
        "text_model.embeddings.token_embedding.weight": (vocabulary, sizes.width),
        "text_model.embeddings.position_embedding.weight": (sizes.tokens, sizes.width),
    }
    tensors = {name: draw.normal(name, shape, 0.7) for name, shape in embeddings.items()}
    for index in range(sizes.layers):
        tensors |= _layer(draw, f"text_model.encoder.layers.{index}", sizes)
    return tensors | norm("text_model.final_layer_norm", sizes.width)


def _layer(draw: Draw, layer: str, sizes: ClipSizes) -> Weights:
    width = sizes.width
    tensors: Weights = {}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        tensors |= draw.linear(f"{layer}.self_attn.{name}", width, width)
    tensors |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
    tensors |= draw.linear(f"{layer}.mlp.fc1", sizes.mlp, width)
    return tensors | draw.linear(f"{layer}.mlp.fc2", width, sizes.mlp)
