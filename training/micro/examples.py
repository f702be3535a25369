"""What the unet is trained on: latents of pictures with their captions, encoded once.

Text encoders and VAE are finished by then, so nothing is encoded twice. The file is kept beside the
checkpoints: making it again would cost a stopped training minutes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from models import store
from models.micro.grammar import Scene
from models.micro.picture import Pixels
from training.micro import pictures, text_stage
from training.micro.captions import caption
from training.micro.networks import Networks
from training.micro.recipe import Recipe
from training.micro.sampling import Scale
from training.micro.text_stage import Words
from training.randomness import stream

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures and captions, encoded.

    Attributes:
        latents: (count, 16, side, side), as the unet sees them.
        context: T5's tokens, (count, tokens, width), bfloat16.
        pooled: CLIP's output, (count, width).
        unsaid: context and pooled output of the empty prompt, a batch of one.
        scale: what took the VAE's latents to a deviation of 1.
    """

    latents: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor
    unsaid: tuple[torch.Tensor, torch.Tensor]
    scale: Scale


def prepare(recipe: Recipe, networks: Networks, folder: Path) -> Examples:
    """Return the examples of a recipe, from the file if they are there already.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / "examples.safetensors"
    if not path.is_file():
        store.atomic_write(path, save({"latents": _latents(recipe, networks.vae)}))
    raw = load_file(path)["latents"]
    scale = Scale(float(raw.float().mean()), 1.0 / float(raw.float().std()))
    texts = [_drawn(recipe, number)[1] for number in range(len(raw))]
    context, pooled = _encoded(networks, texts)
    unsaid = _encoded(networks, [""])
    latents = ((raw.float() - scale.shift) * scale.scale).bfloat16()
    return Examples(latents, context, pooled, unsaid, scale)


def _drawn(recipe: Recipe, number: int) -> tuple[Scene, str]:
    drawn = stream(recipe.seed, "caption", number)
    scene = pictures.random_scene(drawn)
    return scene, caption(scene, drawn).text


def _latents(recipe: Recipe, vae: Any) -> torch.Tensor:
    """The VAE's latents of every example, (count, 16, side, side), float16."""
    made = []
    for first in range(0, recipe.examples, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, recipe.examples))
        shown = [_shown(recipe, number) for number in numbers]
        made.append(encode(vae, pictures.tensor(shown)).half())
    return torch.cat(made)


def _shown(recipe: Recipe, number: int) -> Pixels:
    scene, _ = _drawn(recipe, number)
    return pictures.shown(scene, stream(recipe.seed, "picture", number))


@torch.no_grad()
def encode(vae: Any, shown: torch.Tensor) -> torch.Tensor:
    """The VAE's latents of pictures, float32 on the CPU."""
    device = next(vae.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        latents: torch.Tensor = vae.encode(shown.to(device)).latent_dist.mean
    return latents.float().cpu().contiguous()


@torch.no_grad()
def _encoded(networks: Networks, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    words = Words()
    contexts, pooled = [], []
    for first in range(0, len(texts), _AT_ONCE):
        one, other = text_stage.encode(
            networks.t5, networks.clip, words, texts[first : first + _AT_ONCE]
        )
        contexts.append(one.bfloat16().cpu())
        pooled.append(other.float().cpu())
    return torch.cat(contexts), torch.cat(pooled)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples for one step, on the device."""

    tokens: torch.Tensor
    noise: torch.Tensor
    level: torch.Tensor
    context: torch.Tensor
    pooled: torch.Tensor

    def after(self, first: int) -> "Batch":
        """The same from example ``first`` on."""
        return Batch(
            tokens=self.tokens[first:],
            noise=self.noise[first:],
            level=self.level[first:],
            context=self.context[first:],
            pooled=self.pooled[first:],
        )
