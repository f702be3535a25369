"""The engine: loads models when nodes ask for them, keeps them warm, and runs them.

Nodes name models by small values (:mod:`host.values`); the engine holds what is loaded and frees it
on request. Used by the worker thread only. Loading, encoding, sampling and decoding are files of
their own; here is only what ties them to each other.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from host import card, flux, previews, residency, schedules, text_encoders, vae
from host.denoise import denoise, start
from host.errors import RenderError
from host.guide import guide
from host.images import Pixels
from host.kept import Kept
from host.loras import Adapters, total_strengths
from host.node_types import Picture
from host.previews import Projection
from host.size_limit import check_room
from host.system_stats import DeviceFacts, memory
from host.text_encoders import T5, ClipL
from host.vae import LoadedVae
from host.values import (
    LATENT_CHANNELS,
    PIXELS_PER_LATENT,
    Clip,
    Conditioning,
    Guider,
    Latent,
    Model,
    ModelFile,
    Noise,
    Sampler,
    Sigmas,
    Vae,
)
from models import lora as lora_file

logger = logging.getLogger(__name__)

KEPT = 2
"""Models of a kind that stay loaded: on a CPU they are mapped files, and cost only what is used."""


Report = Callable[[int, int, Picture | None], None]
"""Is told of a step: its number from 1, of how many, and a picture of where it leads, if wanted."""


class Engine:
    """Everything that needs torch."""

    def __init__(
        self,
        models: Path,
        device: torch.device,
        dtype: torch.dtype,
        *,
        partial_loras: bool = False,
        vram_limit: int | None = None,
    ) -> None:
        """Make an engine.

        Args:
            models: the models folder, for tokenizers.
            device: where to compute.
            dtype: in what type the unet and the text encoders compute.
            partial_loras: apply LoRAs in part, as ComfyUI does, instead of refusing them.
            vram_limit: bytes of the card's memory to use; None: all.
        """
        self.device = device
        self._card = card.Card(device, vram_limit) if device.type == "cuda" else None
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
    def on_best_device(
        cls, models: Path, *, partial_loras: bool = False, vram_limit: int | None = None
    ) -> Engine:
        """Return an engine on the GPU if torch sees one, else on the CPU.

        float32 on the CPU, as ComfyUI has it. Measured on two cores with AMX, bfloat16 takes 1.4
        times as long for the micro model at 64 pixels; only the full width at 512 pixels is twice
        as fast, at the price of other pictures. On a GPU bfloat16, or float16 before Ampere.
        """
        if torch.cuda.is_available():
            modern = torch.cuda.get_device_capability()[0] >= 8
            dtype = torch.bfloat16 if modern else torch.float16
            return cls(
                models,
                torch.device("cuda"),
                dtype,
                partial_loras=partial_loras,
                vram_limit=vram_limit,
            )
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

    def text_keys(self, model: Model, lora: ModelFile) -> int:
        """Return how many keys of a LoRA change text encoders; nothing here applies them."""
        return len(lora_file.read(lora.path, self._unet(model.unet).unet.shape).text_encoder)

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
            home = self.device if self._card is None else torch.device("cpu")
            unet = flux.load(file.path, dtype=self._dtype, device=home)
            residency.settle(unet.transformer, self.device)
            return Adapters(unet, self._dtype, self._partial_loras, self.device)

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
        if self._card is not None and 2 * path.stat().st_size > self._card.free():
            return torch.device("cpu"), torch.float32
        overflows = self._dtype is torch.float16
        return self.device, torch.float32 if overflows else self._dtype

    def _vae(self, file: ModelFile) -> LoadedVae:
        return self._vaes.get(file, lambda: vae.load(file.path, device=self.device))

    # --- conditioning ---

    @torch.inference_mode()
    def encode(self, clip: Clip, text: str, clip_text: str | None = None) -> Conditioning:
        """Encode a prompt; CLIP gets a text of its own if ``clip_text`` is given."""
        context = self._t5(clip.t5).encode(text).cpu()
        pooled = self._clip(clip.clip_l).encode(text if clip_text is None else clip_text).cpu()
        return Conditioning(context, pooled)

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
        # The latent, its noise, and the model's guess are there at once while it is sampled.
        numbers = batch * LATENT_CHANNELS * size[0] * size[1]
        check_room(3 * 4 * numbers, f"a batch of {batch} latents")
        return Latent(torch.zeros(batch, LATENT_CHANNELS, *size))

    def levels(self, model: Model, scheduler: str, steps: int, denoise: float) -> Sigmas:
        """Return the noise levels for a model; none if ``denoise`` is 0."""
        table = self._table(model)
        return Sigmas(schedules.levels_for(table, scheduler, steps, denoise))

    def _table(self, model: Model) -> schedules.Table:
        if model.shift is not None:
            return schedules.flux_table(model.shift)
        is_dev = self._unet(model.unet).unet.shape.guidance
        return schedules.flux_table() if is_dev else schedules.schnell_table()

    @torch.inference_mode()
    def sample(
        self,
        guider: Guider,
        noise: Noise,
        sampler: Sampler,
        sigmas: Sigmas,
        latent: Latent,
        *,
        report: Report,
        previews: bool = False,
    ) -> tuple[Latent, Latent]:
        """Denoise a latent; without levels it stays as it is.

        Args:
            guider: the model and its prompts.
            noise: what is mixed in.
            sampler: how to walk.
            sigmas: through which noise levels.
            latent: where to start.
            report: is told of each step; what it raises ends the sampling.
            previews: whether to show it pictures.

        Returns:
            The latent at the end, and the model's last guess of it; the same if no noise is left.

        Raises:
            RenderError: prompts or LoRAs do not fit the model.
        """
        if not sigmas.levels:
            return latent, latent
        adapters = self._unet(guider.model.unet)
        adapters.activate(total_strengths(guider.model.loras))
        self._make_room(card.computing(adapters.unet, latent))
        begin = start(latent, noise, self.device)
        steering = guide(
            adapters.unet, guider, len(begin.given), device=self.device, dtype=self._dtype
        )
        projection = self._projection() if previews else None
        total = len(sigmas.levels) - 1

        def step(number: int, picture: torch.Tensor) -> None:
            report(number + 1, total, projection.jpeg(picture) if projection else None)

        ends = denoise(steering, begin, sigmas, sampler, step)
        made, guessed = (vae.from_model_space(end).cpu() for end in ends)
        return replace(latent, samples=made), replace(latent, samples=guessed)

    def _projection(self) -> Projection:
        loaded = self._vaes.newest()
        if loaded is None:
            return previews.plain()
        file, model = loaded
        return self._projections.get(file, lambda: previews.fit(model))

    # --- pictures ---

    def decode(self, wanted: Vae, latent: Latent) -> Pixels:
        """Turn a latent into pixels, float32, shape (batch, height, width, 3), 0 to 1."""
        self._make_room(card.decoding(latent))
        return self.vae(wanted).decode(latent)

    def vae(self, wanted: Vae) -> LoadedVae:
        """Return a VAE to encode and decode with, loaded again if it was freed."""
        return self._vae(wanted.file)

    # --- memory ---

    def _make_room(self, needed: int) -> None:
        """Let no more of the unet stay on the card than leaves so many bytes for computing."""
        loaded = self._unets.newest()
        if self._card is None or loaded is None:
            return
        model = loaded[1].unet.transformer
        resident = residency.resident(model, self.device)
        stays = residency.fit(model, self.device, card.room(self._card.free(), resident, needed))
        if stays != resident:
            torch.cuda.empty_cache()
            logger.info("%.2f GB of the unet stay on the card", stays / 1e9)

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
