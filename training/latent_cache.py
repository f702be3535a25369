"""Encoded pictures and captions on disk, each under a name that tells what went in.

A picture's name is its file's hash, the bucket, and whether it is mirrored; a caption's a hash of
its text; both with a hash of the encoder that made them. So nothing is encoded twice, a change of
pictures or captions redoes only what changed, and a caption can never end up at another picture
(as it does where a cache is kept in the order of a shuffled loader, diffusers' own script).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from models import store
from training.buckets import Bucket
from training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Words:
    """An encoded caption.

    Attributes:
        context: T5's tokens, (tokens, width), float32.
        pooled: CLIP's, (width,), float32.
    """

    context: torch.Tensor
    pooled: torch.Tensor


@dataclass(frozen=True, slots=True)
class LatentCache:
    """The cache of one training.

    Attributes:
        folder: where it lies.
        vae: hash of the VAE's file.
        encoders: hash of both text encoders' files.
    """

    folder: Path
    vae: str
    encoders: str

    def picture(self, sha256: str, bucket: Bucket, *, mirrored: bool) -> Path:
        """Return the file of an encoded picture."""
        return self._file("picture", sha256, str(bucket), str(mirrored), self.vae)

    def caption(self, text: str) -> Path:
        """Return the file of an encoded caption."""
        return self._file("caption", text, self.encoders)

    def prior(self, *parts: str) -> Path:
        """Return the file of the pictures that the base drew itself."""
        return self._file("prior", *parts, self.vae, self.encoders)

    def _file(self, kind: str, *parts: str) -> Path:
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}.safetensors"


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors, whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    store.atomic_write(path, save({name: one.contiguous() for name, one in tensors.items()}))


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            "the cache cannot be read", path=path, why=str(error), fix="Delete the file, and go on"
        ) from error


def read_words(path: Path) -> Words:
    """Read an encoded caption.

    Raises:
        TrainingError: the file is damaged.
    """
    tensors = read(path)
    return Words(tensors["context"], tensors["pooled"])
