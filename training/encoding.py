"""Turns captions and pictures into what the unet is trained on, and puts it into the cache.

One network at a time is loaded, and let go before the next: T5 alone fills a T4. What is in the
cache already costs nothing.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from host import text_encoders, vae
from training import latent_cache
from training.buckets import Bucket, all_of, cut
from training.dataset import pixels
from training.dataset.picture_set import Item
from training.latent_cache import LatentCache
from training.recipe import Recipe
from training.run_plan import Assets

Told = Callable[[], None]
"""Is called after each thing that was encoded."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as one of the things that are trained.

    Attributes:
        item: the picture.
        bucket: its size.
        mirrored: whether left and right are swapped.
    """

    item: Item
    bucket: Bucket
    mirrored: bool


def shown(items: Iterable[Item], recipe: Recipe) -> list[Shown]:
    """Return everything that is trained: each picture in each of its buckets, and mirrored."""
    ways = (False, True) if recipe.flip else (False,)
    return [
        Shown(item, bucket, mirrored)
        for item in items
        for bucket in all_of(item.width, item.height, recipe.resolution, recipe.bucket_step)
        for mirrored in ways
    ]


def missing_captions(cache: LatentCache, texts: Iterable[str]) -> list[str]:
    """Return the captions that are not in the cache, each once."""
    return [text for text in dict.fromkeys(texts) if not cache.caption(text).is_file()]


def missing_pictures(cache: LatentCache, pictures: Iterable[Shown]) -> list[Shown]:
    """Return the pictures that are not in the cache."""
    return [one for one in pictures if not _file(cache, one).is_file()]


def _file(cache: LatentCache, one: Shown) -> Path:
    return cache.picture(one.item.sha256, one.bucket, mirrored=one.mirrored)


@torch.inference_mode()
def encode_captions(
    cache: LatentCache, texts: list[str], assets: Assets, device: torch.device
) -> Iterator[str]:
    """Encode captions into the cache; yields each when it is there.

    Raises:
        ModelError, RenderError: an encoder cannot be used.
        OSError: the disk refuses.
    """
    if not texts:
        return
    pooled = _pooled(texts, assets, device)
    # float32 unless the card has bfloat16: T5 overflows in float16.
    modern = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
    dtype = torch.bfloat16 if modern else torch.float32
    opened = text_encoders.open_encoder(assets.t5)
    t5 = text_encoders.load_t5(opened, assets.models, dtype=dtype, device=device)
    for text, short in zip(texts, pooled, strict=True):
        context = t5.encode(text)[0].to("cpu", torch.float32)
        latent_cache.write(cache.caption(text), {"context": context, "pooled": short})
        yield text
    del t5
    release(device)


def _pooled(texts: list[str], assets: Assets, device: torch.device) -> list[torch.Tensor]:
    opened = text_encoders.open_encoder(assets.clip_l)
    clip = text_encoders.load_clip(opened, assets.models, dtype=torch.float32, device=device)
    return [clip.encode(text)[0].cpu() for text in texts]


def encode_pictures(
    cache: LatentCache, pictures: list[Shown], assets: Assets, device: torch.device
) -> Iterator[Shown]:
    """Encode pictures into the cache, as the unet works on them; yields each when it is there.

    Raises:
        ModelError, RenderError: the VAE cannot be used.
        TrainingError: a picture cannot be read.
        OSError: the disk refuses.
    """
    if not pictures:
        return
    loaded = vae.load(assets.vae, device=device)
    for one in pictures:
        latent = loaded.encode(_cut_out(assets.pictures / one.item.file, one))
        latent_cache.write(_file(cache, one), {"latent": vae.to_model_space(latent.samples)[0]})
        yield one
    del loaded
    release(device)


def _cut_out(path: Path, one: Shown) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a picture in its bucket's size: float32, (1, height, width, 3), 0 to 1."""
    image = pixels.read(path)
    way = cut(image.width, image.height, one.bucket)
    image = image.resize(way.resized, Image.Resampling.LANCZOS)
    right, bottom = way.left + one.bucket.width, way.top + one.bucket.height
    image = image.crop((way.left, way.top, right, bottom))
    if one.mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image, dtype=np.float32)[None] / np.float32(255)


def release(device: torch.device) -> None:
    """Give back the memory of what was let go."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
