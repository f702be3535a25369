"""The loss of a LoRA on pictures that it never saw, on the file that draws: a judge without luck.

Pictures, captions, noise and levels are the same for every LoRA, so two of them can be compared by
far less than what the drawing of some hundred pictures tells.
"""

from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import mse_loss

from host import flux, vae
from models.micro import concept, spec
from models.micro.grammar import WORDINGS, Background, Size, say
from models.micro.picture import Pixels
from training import adapter, checkpoint_files, checkpoints, encoding, latent_cache, material
from training.bases import base
from training.dataset import picture_set
from training.examples import Examples, stacked
from training.recipe import Precision
from training.run_folder import RunFolder
from training.run_plan import Backend, read_assets, read_plan

COUNT = 64
LEVELS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.97)
GUIDANCE = 3.5
_CPU = torch.device("cpu")


@torch.no_grad()
def loss(run: RunFolder, deployed: Path) -> float:
    """Return the mean loss of a finished run's LoRA on a file, float32."""
    plan = read_plan(run.plan)
    unseen = pictures(run)
    loaded = base.load(deployed, Backend.GGUF, Precision.FLOAT32, _CPU)
    adapter.put_on(loaded, plan.recipe.rank, plan.recipe.targets, plan.recipe.seed)
    last = checkpoint_files.newest(run.checkpoints)
    assert last is not None
    trained = checkpoints.read(last.path)
    for name, parameter in adapter.parameters(loaded).items():
        parameter.copy_(trained[f"lora/{name}"])
    prompts = unseen.prompts(GUIDANCE, torch.float32)
    losses = []
    for number, level in enumerate(LEVELS):
        drawn = torch.Generator().manual_seed(number)
        noise = torch.randn(unseen.latents.shape, generator=drawn)
        noisy = (1 - level) * unseen.latents + level * noise
        guess = flux.velocity(loaded.unet, noisy, torch.full((COUNT,), level), prompts)
        losses.append(mse_loss(guess, noise - unseen.latents).item())
    return mean(losses)


def pictures(run: RunFolder) -> Examples:
    """Draw and encode pictures of the concept that no training saw."""
    assets, plan = read_assets(run.assets), read_plan(run.plan)
    drawn = np.random.default_rng(99)
    shown, texts = [], []
    for number in range(COUNT):
        size = Size.SMALL if number % 3 == 2 else Size.LARGE
        ground = tuple(Background)[number % len(Background)]
        shown.append(_small(concept.draw(ground, size, drawn)))
        wording = WORDINGS[number % len(WORDINGS)]
        texts.append(say(wording, size, "", "", plan.trigger, ground))
    found = material.find(run, plan, assets, picture_set.load(run.dataset))
    missing = encoding.missing_captions(found.cache, texts)
    list(encoding.encode_captions(found.cache, missing, assets, _CPU))
    loaded = vae.load(assets.vae, device=_CPU)
    latents = torch.cat([loaded.encode(one[None]).samples for one in shown])
    words = [latent_cache.read_words(found.cache.caption(text)) for text in texts]
    return Examples(vae.to_model_space(latents).clone(), *stacked(words))


def _small(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    whole = Image.fromarray(pixels.clip(0, 255).astype("u1"))
    image = whole.resize((spec.SIDE, spec.SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image, dtype=np.float32) / np.float32(255)
