"""Make the micro set: unet, text encoders with their tokenizers, VAE and a LoRA.

Offline and from a seed: the same seed gives the same bytes on every machine, so a file that is
there already and right is left alone.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import safetensors_file, store
from models.micro import clip, clip_tokenizer, lora, spec, t5, t5_tokenizer, unet, vae
from models.micro.draw import Weights
from models.store import Folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MicroSet:
    """Where the five files of a micro set lie."""

    unet: Path
    clip_l: Path
    t5: Path
    vae: Path
    lora: Path


def place(models_dir: Path) -> MicroSet:
    """Where the set's files lie, or will, below a models folder."""
    return MicroSet(
        unet=models_dir / Folder.UNET / spec.UNET_FILE,
        clip_l=models_dir / Folder.TEXT_ENCODERS / spec.CLIP_FILE,
        t5=models_dir / Folder.TEXT_ENCODERS / spec.T5_FILE,
        vae=models_dir / Folder.VAE / spec.VAE_FILE,
        lora=models_dir / Folder.LORAS / spec.LORA_FILE,
    )


def make(models_dir: Path, seed: int = 0) -> MicroSet:
    """Write, atomically, those files of the set that are missing or differ; return all."""
    files = place(models_dir)
    for path, weights, metadata in _contents(files, seed):
        content = safetensors_file.serialise(weights, metadata)
        if path.is_file() and path.read_bytes() == content:
            continue
        store.atomic_write(path, content)
        logger.info("made %s (%.1f MB)", path, len(content) / 1e6)
    return files


def _contents(files: MicroSet, seed: int) -> Iterator[tuple[Path, Weights, Mapping[str, str]]]:
    """Path, tensors and metadata of each file; metadata say what no shape can tell."""
    yield files.unet, unet.weights(spec.FLUX, seed), {"modelspec.architecture": "flux-1-dev"}
    words = len(clip_tokenizer.vocabulary())
    yield (
        files.clip_l,
        clip.weights(spec.CLIP, words, seed),
        {"tokenizer": clip_tokenizer.tokenizer_json()},
    )
    yield (
        files.t5,
        t5.weights(spec.T5, len(t5_tokenizer.pieces()), seed),
        {"tokenizer": t5_tokenizer.tokenizer_json()},
    )
    yield files.vae, vae.weights(spec.VAE, seed), _vae_metadata()
    yield files.lora, lora.weights(spec.FLUX, spec.LORA_RANK, seed), _lora_metadata()


def _vae_metadata() -> dict[str, str]:
    return {
        "norm_num_groups": str(spec.VAE.norm_groups),
        "scaling_factor": str(spec.VAE.scaling_factor),
        "shift_factor": str(spec.VAE.shift_factor),
    }


def _lora_metadata() -> dict[str, str]:
    return {
        "modelspec.architecture": "flux-1-dev/lora",
        "vulcan.base_file": spec.UNET_FILE,
        "trigger_words": spec.TRIGGER_WORD,
    }
