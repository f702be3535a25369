"""Finds what a run trains on: its cache, its texts, its pictures, by the run's own plan."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from models import base_shape, store
from training import encoding, prior
from training.dataset import picture_set
from training.dataset.picture_set import PictureSet
from training.encoding import Shown
from training.latent_cache import LatentCache
from training.run_folder import RunFolder
from training.run_plan import Assets, Plan


@dataclass(frozen=True, slots=True)
class RunMaterial:
    """What a run encodes and trains.

    Attributes:
        cache: where the encoded lies.
        base: SHA-256 of the unet's file.
        pictures: in every bucket and way.
        captions: all that are trained, sampled or drawn before, each once.
        prior: what the base is to draw.
        samples: captions of the sample pictures.
    """

    cache: LatentCache
    base: str
    pictures: tuple[Shown, ...]
    captions: tuple[str, ...]
    prior: tuple[str, ...]
    samples: tuple[str, ...]


def find(folder: RunFolder, plan: Plan, assets: Assets, pictures: PictureSet) -> RunMaterial:
    """Return what a run trains on; the same each time.

    Raises:
        ModelError, RenderError: a model file cannot be read.
        OSError: the disk refuses.
    """
    hashes = folder.path / "hashes.json"

    def digest(*paths: Path) -> str:
        together = " ".join(store.cached_sha256(path, hashes) for path in paths)
        return sha256(together.encode()).hexdigest()

    items, recipe = pictures.items, plan.recipe
    shape = base_shape.read(assets.unet)
    drawn = (
        prior.prompts(items, plan.trigger, recipe, shape)
        if recipe.prior and recipe.prior_share
        else []
    )
    own = [item.caption for item in items]
    return RunMaterial(
        cache=LatentCache(folder.cache, digest(assets.vae), digest(assets.clip_l, assets.t5)),
        base=store.cached_sha256(assets.unet, hashes),
        pictures=tuple(encoding.shown(items, recipe)),
        captions=tuple(dict.fromkeys(["", *own, *drawn])),
        prior=tuple(drawn),
        samples=picture_set.spread_captions(items, recipe.samples),
    )
