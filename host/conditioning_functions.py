"""What the nodes of :mod:`host.conditioning_nodes` do: one call of the engine each."""

from host.node_types import Context, Result
from host.values import Clip, Conditioning


def encode_text(context: Context, *, text: str, clip: Clip) -> Result:
    """CLIPTextEncode: a prompt becomes tensors."""
    return Result((context.engine.encode(clip, text),))


def encode_two_texts(
    context: Context, *, clip: Clip, clip_l: str, t5xxl: str, guidance: float
) -> Result:
    """CLIPTextEncodeFlux: a text for each encoder, and the guidance."""
    encoded = context.engine.encode(clip, t5xxl, clip_l)
    return Result((context.engine.with_guidance(encoded, guidance),))


def set_guidance(context: Context, *, conditioning: Conditioning, guidance: float) -> Result:
    """FluxGuidance: set Flux's embedded guidance."""
    return Result((context.engine.with_guidance(conditioning, guidance),))


def zero_out(context: Context, *, conditioning: Conditioning) -> Result:
    """ConditioningZeroOut: the same shape without content."""
    return Result((context.engine.zero_out(conditioning),))
