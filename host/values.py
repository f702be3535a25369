"""What nodes hand to each other, as small frozen values.

Models are named, not held: a value says which file (and which LoRAs on it), the engine keeps the
weights. So a cached value stays good when the engine has freed its model, and comparing is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LATENT_CHANNELS = 16
"""Channels of a Flux latent."""

PIXELS_PER_LATENT = 8
"""Width and height of the square of pixels that one latent position stands for."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file at one moment; a file that is replaced becomes another value."""

    path: Path
    stamp: str

    @classmethod
    def of(cls, path: Path) -> ModelFile:
        """Return the file as it is now."""
        return cls(path, stamp(path))


def stamp(path: Path) -> str:
    """Return text that changes whenever the file does (size, time, inode); empty if it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ino}"


@dataclass(frozen=True, slots=True)
class Model:
    """MODEL: a unet and the LoRAs on it, each with its strength.

    Attributes:
        unet: its file.
        loras: in the order in which they were put on.
        shift: how far noise levels are shifted towards noise; None: as this unet was trained.
    """

    unet: ModelFile
    loras: tuple[tuple[ModelFile, float], ...] = ()
    shift: float | None = None

    def with_lora(self, lora: ModelFile, strength: float) -> Model:
        """Return the same model with one more LoRA."""
        return replace(self, loras=(*self.loras, (lora, strength)))


@dataclass(frozen=True, slots=True)
class Clip:
    """CLIP: the pair of text encoders."""

    clip_l: ModelFile
    t5: ModelFile


@dataclass(frozen=True, slots=True)
class Vae:
    """VAE."""

    file: ModelFile


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """CONDITIONING: an encoded prompt.

    Attributes:
        context: T5's tokens, float32, shape (1, tokens, width).
        pooled: CLIP's summary, float32, shape (1, width).
        guidance: Flux's embedded guidance; None means the default.
    """

    context: torch.Tensor
    pooled: torch.Tensor
    guidance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """LATENT: samples as ComfyUI passes them on, float32, shape (batch, channels, h / 8, w / 8).

    They are in the latent space of FLUX.1's own VAE, before its shift and scale are applied.

    Attributes:
        samples: the latents.
        noise_mask: where the sampler may draw (1) and what it must keep (0), float32, shape
            (batch, 1, height, width) in any size and with any number of masks, as it was given;
            None draws everywhere.
        batch_index: which noise of the seed's batch each latent gets; None means 0, 1, 2, ...
    """

    samples: torch.Tensor
    noise_mask: torch.Tensor | None = None
    batch_index: tuple[int, ...] | None = None


# --- the parts of a sampling, for nodes that take it apart ---


@dataclass(frozen=True, slots=True)
class Noise:
    """NOISE: noise by its seed; None is no noise."""

    seed: int | None


@dataclass(frozen=True, slots=True)
class Sampler:
    """SAMPLER: the name of a walk."""

    name: str


@dataclass(frozen=True, slots=True)
class Sigmas:
    """SIGMAS: noise levels in the order in which they are walked through, each a float32."""

    levels: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Guider:
    """GUIDER: a model with its prompts.

    Attributes:
        model: the unet and its LoRAs.
        positive: what is wanted.
        negative: what is not; None if nothing is said of it.
        cfg: how much the two differ counts; at 1 the negative prompt has no say.
    """

    model: Model
    positive: Conditioning
    negative: Conditioning | None = None
    cfg: float = 1.0
