"""Pictures that show how a training gets on: the same captions and noise, every so many updates.

The first lot, at update 0, is the base's own. The last shows what the LoRA learned.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from host import vae
from host.values import Latent
from training import encoding, latent_cache, png_file, prior, sampling
from training.bases.base import Base
from training.examples import stacked
from training.material import RunMaterial
from training.progress import Happened
from training.randomness import generator
from training.stages.stage_process import StageProcess


class SamplePictures:
    """The sample pictures of one run."""

    def __init__(self, process: StageProcess, base: Base, found: RunMaterial) -> None:
        self._process, self._base, self._found = process, base, found

    def draw(self, step: int) -> None:
        """Draw one lot, unless it is there, or the run is to stop."""
        files = [file_of(self._process.folder.samples, step, n) for n in range(self._count)]
        if not files or all(file.is_file() for file in files):
            return
        latents = self._latents()
        if latents is None:
            return
        loaded = vae.load(self._process.assets.vae, device=self._process.device)
        pixels = loaded.decode(Latent(vae.from_model_space(latents)))
        del loaded
        encoding.release(self._process.device)
        for file, one in zip(files, pixels, strict=True):
            _save(file, np.asarray(one))
            name = file.relative_to(self._process.folder.path).as_posix()
            self._process.tell(Happened.SAMPLE, step=step, file=name)

    @property
    def _count(self) -> int:
        return len(self._found.samples)

    def _latents(self) -> torch.Tensor | None:
        """One after the other: a card that trains has no room for more."""
        recipe, cache = self._process.plan.recipe, self._found.cache
        made = []
        for number, text in enumerate(self._found.samples):
            context, pooled = stacked([latent_cache.read_words(cache.caption(text))])
            latent = sampling.sample(
                self._base,
                context,
                pooled,
                prior.square(recipe),
                recipe.sample_steps,
                generator(recipe.seed, "sample", number),
                self._process.stop_wanted,
            )
            if latent is None:
                return None
            made.append(latent)
        return torch.cat(made)


def file_of(folder: Path, step: int, number: int) -> Path:
    """Return a sample's file."""
    return folder / f"step-{step:06}-{number + 1}.png"


def _save(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    png_file.write(path, Image.fromarray((pixels * 255).round().clip(0, 255).astype("u1")))
