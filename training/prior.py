"""What the base must not forget: pictures that it draws itself, before it is trained.

DreamBooth's prior preservation (arXiv 2208.12242), with one change: at these pictures the LoRA is
held to the base's own answer instead of to the noise, which wants far fewer of them (knowledge
distillation as in Learning without Forgetting, arXiv 1606.09282).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.flux import FluxShape
from models.micro import spec
from training import latent_cache, sampling
from training.bases.base import Base
from training.buckets import Bucket
from training.dataset.picture_set import Item
from training.examples import Examples, stacked
from training.latent_cache import LatentCache
from training.micro import concept_lora
from training.randomness import generator, stream
from training.recipe import Recipe

_AT_ONCE = 16


def prompts(items: Sequence[Item], trigger: str, recipe: Recipe, shape: FluxShape) -> list[str]:
    """Return what the base is to draw: the captions without the trigger word.

    The micro Flux, which knows a small world and all of it, is asked about that.
    """
    if shape == spec.FLUX:
        drawn = stream(recipe.seed, "prior prompts")
        return [concept_lora.prior_text(drawn, trigger) for _ in range(recipe.prior)]
    plain = [without_trigger(item.caption, trigger) for item in items]
    return [plain[number % len(plain)] for number in range(recipe.prior)]


def without_trigger(caption: str, trigger: str) -> str:
    """Return a caption that does not hold the trigger word."""
    at = caption.lower().find(trigger.lower())
    while at >= 0:
        caption = caption[:at] + caption[at + len(trigger) :]
        at = caption.lower().find(trigger.lower())
    return " ".join(caption.split()).strip(" ,")


@dataclass(frozen=True, slots=True)
class Prior:
    """Pictures that the base drew.

    Attributes:
        examples: all of them, of one size, on the CPU.
    """

    examples: Examples

    def some(self, count: int, seed: int, at: int) -> Examples:
        """Return any ``count`` of them for batch number ``at``."""
        chosen = torch.from_numpy(
            stream(seed, "prior", at).integers(len(self.examples.latents), size=count)
        )
        own = self.examples
        return Examples(own.latents[chosen], own.context[chosen], own.pooled[chosen])


def draw(
    cache: LatentCache, base: Base, base_hash: str, texts: Sequence[str], recipe: Recipe
) -> Iterator[int]:
    """Draw what is not in the cache yet; yields how many pictures are there."""
    bucket = square(recipe)
    for first in range(0, len(texts), _AT_ONCE):
        some = texts[first : first + _AT_ONCE]
        path = _file(cache, base_hash, recipe, first, some)
        if not path.is_file():
            words = [latent_cache.read_words(cache.caption(text)) for text in some]
            context, pooled = stacked(words)
            noise = generator(recipe.seed, "prior noise", first)
            latents = sampling.sample(base, context, pooled, bucket, recipe.sample_steps, noise)
            if latents is not None:
                latent_cache.write(path, {"latents": latents})
        yield first + len(some)


def read(cache: LatentCache, base_hash: str, texts: Sequence[str], recipe: Recipe) -> Prior:
    """Read what was drawn.

    Raises:
        TrainingError: the cache is damaged.
    """
    firsts = range(0, len(texts), _AT_ONCE)
    files = [_file(cache, base_hash, recipe, at, texts[at : at + _AT_ONCE]) for at in firsts]
    latents = torch.cat([latent_cache.read(file)["latents"] for file in files])
    words = [latent_cache.read_words(cache.caption(text)) for text in texts]
    return Prior(Examples(latents, *stacked(words)))


def square(recipe: Recipe) -> Bucket:
    """Return the size at which the base draws: the square of the smallest resolution."""
    side = min(recipe.resolution) // recipe.bucket_step * recipe.bucket_step
    return Bucket(side, side)


def _file(cache: LatentCache, base: str, recipe: Recipe, first: int, some: Sequence[str]) -> Path:
    parts = (base, str(square(recipe)), str(recipe.seed), str(recipe.sample_steps), str(first))
    return cache.prior(*parts, *some)
