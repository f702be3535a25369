"""Everything about one image, in one frozen value.

Made once, where prompt file, pair and defaults meet; nothing downstream looks anything up. It
travels through the journal as JSON and is the only input, beside the template, of the graph.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LoraChoice:
    """A LoRA by the name the host lists it under, and the factor it is applied with."""

    file: str
    strength: float


@dataclass(frozen=True, slots=True)
class Request:
    """One image to be made.

    Attributes:
        prompt: what to draw, trigger words included.
        negative: what to avoid; has an effect only with ``cfg`` above 1.
        width: pixels, multiple of 16.
        height: pixels, multiple of 16.
        steps: denoising steps.
        guidance: Flux's embedded guidance.
        cfg: true classifier-free guidance; 1 switches it off.
        seed: of the initial noise, 0 to 2**64 - 1.
        loras: applied in this order.
        workflow: name of the template.
        unet: diffusion model file.
        text_encoders: CLIP-L and T5 files.
        vae: autoencoder file.
    """

    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    guidance: float
    cfg: float
    seed: int
    loras: tuple[LoraChoice, ...]
    workflow: str
    unet: str
    text_encoders: tuple[str, str]
    vae: str

    def to_json(self) -> str:
        """Write the request as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Request":
        """Read what :meth:`to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["loras"] = tuple(LoraChoice(**lora) for lora in fields["loras"])
        fields["text_encoders"] = tuple(fields["text_encoders"])
        return cls(**fields)
