"""The hashes by which LoRAs are known: the file's, and the one over its tensors.

Civitai's AutoV2 is the beginning of the file's SHA-256. The other is the SHA-256 of all bytes
behind the header, so it survives a change of metadata: kohya writes it as sshs_model_hash, A1111
and Forge show its beginning, Civitai's AutoV3 is that too. Source: kohya-ss/sd-scripts,
library/train_util.py, addnet_hash_safetensors().
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class LoraHashes:
    """Two SHA-256 in hex: of the whole file, and of its tensors."""

    file: str
    tensors: str

    @property
    def autov2(self) -> str:
        """Civitai's short name of the file."""
        return self.file[:10]

    @property
    def autov3(self) -> str:
        """Civitai's short name of its tensors."""
        return self.tensors[:12]


def of(path: Path) -> LoraHashes:
    """Hash a safetensors file, reading it once, in small pieces.

    Raises:
        OSError: it cannot be read.
    """
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        length = file.read(8)
        whole.update(length)
        whole.update(file.read(int.from_bytes(length, "little")))
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            tensors.update(chunk)
    return LoraHashes(whole.hexdigest(), tensors.hexdigest())
