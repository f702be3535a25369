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
class InputImage:
    """A picture that a workflow starts from.

    Attributes:
        name: the user's file name.
        path: where the director keeps it, absolute.
        sha256: of its bytes; hosts are given it under a name made of this.
    """

    name: str
    path: str
    sha256: str


Scalar = str | int | float | bool


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
        sampler: ComfyUI's name of it; empty for the workflow's own.
        scheduler: likewise.
        denoise: share of the noise schedule to run; ``None`` for the workflow's own.
        batch: pictures made at once by this one job.
        image: what the workflow starts from, where it starts from one.
        slots: further inputs by the workflow's own slot names, or by ``node.input``.
        asked: slots that the prompt file set itself, so that the workflow must have them.
        template: the prompt as it was written, before variants and wildcards were drawn;
            empty where nothing was drawn.
        cell: where it stands in a grid: axis and value, in the order of the axes.
        pair: name of the pair that unet, companions and LoRAs are from; empty for none.
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
    sampler: str = ""
    scheduler: str = ""
    denoise: float | None = None
    batch: int = 1
    image: InputImage | None = None
    slots: tuple[tuple[str, Scalar], ...] = ()
    asked: tuple[str, ...] = ()
    template: str = ""
    cell: tuple[tuple[str, str], ...] = ()
    pair: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the request as JSON has it; ``asdict`` does the same five times as slowly."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["loras"] = [{"file": lora.file, "strength": lora.strength} for lora in self.loras]
        if self.image:
            values["image"] = asdict(self.image)
        return values

    def to_json(self) -> str:
        """Write the request as one line of JSON with sorted keys."""
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Request":
        """Read what :meth:`to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["loras"] = tuple(LoraChoice(**lora) for lora in fields["loras"])
        fields["text_encoders"] = tuple(fields["text_encoders"])
        if fields.get("image"):
            fields["image"] = InputImage(**fields["image"])
        for pairs in ("slots", "cell"):
            fields[pairs] = tuple((name, value) for name, value in fields.get(pairs, ()))
        fields["asked"] = tuple(fields.get("asked", ()))
        return cls(**fields)
