"""The engine: loads models when nodes ask for them, keeps them warm, and runs them.

Nodes name models by small values (:mod:`host.values`); the engine holds what is loaded and frees it
on request. Used by the worker thread only. Loading, encoding, sampling and decoding are files of
their own; here is only what ties them to each other.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from host import flux, previews, sampling, text_encoders, vae
from host.errors import RenderError
from host.flux import Prompts, Unet
from host.images import Pixels
from host.kept import Kept
from host.loras import Adapters, total_strengths
from host.node_types import Picture
from host.previews import Projection
from host.system_stats import DeviceFacts, memory
from host.text_encoders import T5, ClipL
from host.vae import LoadedVae
from host.values import (
    LATENT_CHANNELS,
    PIXELS_PER_LATENT,
    Clip,
    Conditioning,
    Latent,
    Model,
    ModelFile,
    Vae,
)

KEPT = 2
"""Models of a kind that stay loaded: on a CPU they are mapped files, and cost only what is used."""


@dataclass(frozen=True, slots=True)
class SampleStep:
    """One step of the sampler, as the node sees it.

    Attributes:
        number: 1 for the first.
        total: steps in all.
        latent: the latent if it stopped here.
        preview: a picture of where it is going, if wanted.
    """

    number: int
    total: int
    latent: Latent
    preview: Picture | None


class Engine:
    """Everything that needs torch."""

    def __init__(
        self,
        models: Path,
        device: torch.device,
        dtype: torch.dtype,
        *,
        partial_loras: bool = False,
    ) -> None:
        """Make an engine.

        Args:
            models: the models folder, for tokenizers.
            device: where to compute.
            dtype: in what type the unet and the text encoders compute.
            partial_loras: apply LoRAs in part, as ComfyUI does, instead of refusing them.
        """
        self.device = device
        self._models = models
        self._dtype = dtype
        self._partial_loras = partial_loras
        kept = 1 if device.type == "cuda" else KEPT
        self._unets: Kept[ModelFile, Adapters] = Kept(kept)
        self._clips: Kept[ModelFile, ClipL] = Kept(kept)
        self._t5s: Kept[ModelFile, T5] = Kept(kept)
        self._vaes: Kept[ModelFile, LoadedVae] = Kept(kept)
        self._projections: Kept[ModelFile, Projection] = Kept(kept)

    @classmethod
    def on_best_device(cls, models: Path, *, partial_loras: bool = False) -> Engine:
        """Return an engine on the GPU if torch sees one, else on the CPU.

        float32 on the CPU, as ComfyUI has it. Measured on two cores with AMX, bfloat16 takes 1.4
        times as long for the micro model at 64 pixels; only the full width at 512 pixels is twice
        as fast, at the price of other pictures. On a GPU bfloat16, or float16 before Ampere.
        """
        if torch.cuda.is_available():
            modern = torch.cuda.get_device_capability()[0] >= 8
            dtype = torch.bfloat16 if modern else torch.float16
            return cls(models, torch.device("cuda"), dtype, partial_loras=partial_loras)
        return cls(models, torch.device("cpu"), torch.float32, partial_loras=partial_loras)

    # --- loading ---

    def load_unet(self, file: ModelFile) -> Model:
        """Load a unet, so that a broken file shows at its loader."""
        self._unet(file)
        return Model(file)

    def add_lora(self, model: Model, lora: ModelFile, strength: float) -> Model:
        """Put a LoRA on a model, so that keys that do not apply show at its loader."""
        self._unet(model.unet).load(lora)
        return model.with_lora(lora, strength)

    def load_clips(self, first: ModelFile, second: ModelFile) -> Clip:
        """Load the two text encoders, whichever is which."""
        files = {file: text_encoders.open_encoder(file.path) for file in (first, second)}
        t5 = [file for file, opened in files.items() if text_encoders.is_t5(opened)]
        if len(t5) != 1 or len(files) != 2:
            raise RenderError(
                f"{first.path.name} and {second.path.name} are not Flux's two text encoders",
                why="one must be CLIP-L, the other T5",
            )
        other = second if t5[0] == first else first
        clip = Clip(other, t5[0])
        self._clip(clip.clip_l)
        self._t5(clip.t5)
        return clip

    def load_vae(self, file: ModelFile) -> Vae:
        """Load a VAE."""
        self._vae(file)
        return Vae(file)

    def _unet(self, file: ModelFile) -> Adapters:
        def load() -> Adapters:
            unet = flux.load(file.path, dtype=self._dtype, device=self.device)
            return Adapters(unet, self._dtype, self._partial_loras)

        return self._unets.get(file, load)

    def _clip(self, file: ModelFile) -> ClipL:
        def load() -> ClipL:
            opened = text_encoders.open_encoder(file.path)
            device, _ = self._text_place(file.path)
            return text_encoders.load_clip(opened, self._models, dtype=torch.float32, device=device)

        return self._clips.get(file, load)

    def _t5(self, file: ModelFile) -> T5:
        def load() -> T5:
            opened = text_encoders.open_encoder(file.path)
            device, dtype = self._text_place(file.path)
            return text_encoders.load_t5(opened, self._models, dtype=dtype, device=device)

        return self._t5s.get(file, load)

    def _text_place(self, path: Path) -> tuple[torch.device, torch.dtype]:
        """Return where a text encoder computes, and in what type.

        It runs once per prompt, so it gives way to the unet: on the CPU if it would take more than
        half of the GPU's free memory. T5 overflows in float16.
        """
        if self.device.type == "cuda" and 2 * path.stat().st_size > torch.cuda.mem_get_info()[0]:
            return torch.device("cpu"), torch.float32
        overflows = self._dtype is torch.float16
        return self.device, torch.float32 if overflows else self._dtype

    def _vae(self, file: ModelFile) -> LoadedVae:
        return self._vaes.get(file, lambda: vae.load(file.path, device=self.device))

    # --- conditioning ---

    @torch.inference_mode()
    def encode(self, clip: Clip, text: str) -> Conditioning:
        """Encode a prompt."""
        context = self._t5(clip.t5).encode(text).cpu()
        return Conditioning(context, self._clip(clip.clip_l).encode(text).cpu())

    def with_guidance(self, conditioning: Conditioning, guidance: float) -> Conditioning:
        """Return the same prompt with this guidance."""
        return replace(conditioning, guidance=guidance)

    def zero_out(self, conditioning: Conditioning) -> Conditioning:
        """Return a prompt of zeros, of the same shape and guidance."""
        return replace(
            conditioning,
            context=torch.zeros_like(conditioning.context),
            pooled=torch.zeros_like(conditioning.pooled),
        )

    # --- sampling ---

    def empty_latent(self, width: int, height: int, batch: int) -> Latent:
        """Return zeros for pictures of this size in pixels."""
        size = (height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT)
        return Latent(torch.zeros(batch, LATENT_CHANNELS, *size))

    @torch.inference_mode()
    def sample(
        self,
        model: Model,
        positive: Conditioning,
        negative: Conditioning,
        latent: Latent,
        *,
        seed: int,
        steps: int,
        cfg: float,
        scheduler: str,
        denoise: float,
        previews: bool,
    ) -> Iterator[SampleStep]:
        """Denoise a latent; yield after each step. Nothing is yielded if ``denoise`` is 0."""
        adapters = self._unet(model.unet)
        adapters.activate(total_strengths(model.loras))
        levels = sampling.levels_for(scheduler, steps, denoise)
        if len(levels) < 2:
            return
        given = latent.samples
        if torch.count_nonzero(given):  # ComfyUI leaves an empty latent at zero
            given = vae.to_model_space(given)
        noise = sampling.noise_like(given, seed)
        begin = sampling.start(given, noise, levels[0]).to(self.device)
        velocity = self._velocity(adapters.unet, positive, negative, cfg, len(begin))
        projection = self._projection() if previews else None
        for step in sampling.euler(begin, levels, velocity):
            yield SampleStep(
                step.number,
                step.total,
                Latent(vae.from_model_space(step.latent).cpu()),
                projection.jpeg(step.picture) if projection else None,
            )

    def _velocity(
        self, unet: Unet, positive: Conditioning, negative: Conditioning, cfg: float, batch: int
    ) -> sampling.Velocity:
        wanted = self._prompts(positive, unet, batch)
        if math.isclose(cfg, 1.0):
            return lambda latent, level: flux.velocity(
                unet, latent, self._levels(level, len(latent)), wanted
            )
        unwanted = self._prompts(negative, unet, batch)

        def guided(latent: torch.Tensor, level: float) -> torch.Tensor:
            sigma = self._levels(level, len(latent))
            towards = flux.velocity(unet, latent, sigma, wanted)
            away = flux.velocity(unet, latent, sigma, unwanted)
            return away + (towards - away) * cfg

        return guided

    def _levels(self, level: float, batch: int) -> torch.Tensor:
        return torch.full((batch,), level, device=self.device)

    def _prompts(self, prompt: Conditioning, unet: Unet, batch: int) -> Prompts:
        shape = unet.shape
        if prompt.context.shape[-1] != shape.context or prompt.pooled.shape[-1] != shape.pooled:
            raise RenderError(
                f"the text encoders do not fit {unet.path.name}",
                why=f"it wants {shape.context} and {shape.pooled} channels, they give "
                f"{prompt.context.shape[-1]} and {prompt.pooled.shape[-1]}",
                fix="Choose the text encoders that belong to this unet",
            )
        guidance = flux.DEFAULT_GUIDANCE if prompt.guidance is None else prompt.guidance
        return Prompts(
            prompt.context.to(self.device, self._dtype).expand(batch, -1, -1),
            prompt.pooled.to(self.device, self._dtype).expand(batch, -1),
            torch.full((batch,), guidance, device=self.device),
        )

    def _projection(self) -> Projection:
        loaded = self._vaes.newest()
        if loaded is None:
            return previews.plain()
        file, model = loaded
        return self._projections.get(file, lambda: previews.fit(model))

    # --- pictures ---

    def decode(self, wanted: Vae, latent: Latent) -> Pixels:
        """Turn a latent into pixels, float32, shape (batch, height, width, 3), 0 to 1."""
        return self.vae(wanted).decode(latent)

    def vae(self, wanted: Vae) -> LoadedVae:
        """Return a VAE to encode and decode with, loaded again if it was freed."""
        return self._vae(wanted.file)

    # --- memory ---

    def free(self) -> None:
        """Let go of every model."""
        for kept in (self._unets, self._clips, self._t5s, self._vaes, self._projections):
            kept.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def devices(self) -> list[DeviceFacts]:
        """Describe the device that renders."""
        if self.device.type != "cuda":
            ram = memory()
            return [DeviceFacts("cpu", "cpu", None, ram.total, ram.free)]
        free, total = torch.cuda.mem_get_info()
        name = f"cuda:0 {torch.cuda.get_device_name()}"
        return [DeviceFacts(name, "cuda", 0, total, free)]
