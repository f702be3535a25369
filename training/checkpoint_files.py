"""The checkpoints that lie in a folder, and which of them are whole; needs no torch.

A checkpoint is a safetensors file and, written after it, a JSON with its SHA-256. Only what has
both, and agrees, counts: a file that a kill, a full disk or a download left damaged is passed over
for the one before.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import store
from models.errors import ModelError

KEPT = 2
_NAME = re.compile(r"step-([0-9]{6,})\.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One on disk.

    Attributes:
        step: updates made.
        path: its file.
        digest: hash of what was trained (:func:`training.plan_digest.digest`).
    """

    step: int
    path: Path
    digest: str


def path_of(folder: Path, step: int) -> Path:
    """Return the file of a checkpoint."""
    return folder / f"step-{step:06}.safetensors"


def announce(path: Path, step: int, digest: str) -> None:
    """Say that a checkpoint is whole, and forget all but the newest two.

    Raises:
        OSError: the disk refuses.
    """
    facts = {"step": step, "sha256": store.sha256(path), "digest": digest}
    store.atomic_write(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    for old in list(_listed(path.parent))[KEPT:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def newest(folder: Path, digest: str | None = None) -> Checkpoint | None:
    """Return the newest checkpoint that is whole; None where there is none.

    Args:
        folder: where they lie.
        digest: only those of this training; None: any.
    """
    for path in _listed(folder):
        found = _checked(path)
        if found is not None and digest in (None, found.digest):
            return found
    return None


def _listed(folder: Path) -> Iterator[Path]:
    """Yield the JSON files of all checkpoints, the newest first."""
    found = [path for path in folder.glob("step-*.json") if _NAME.fullmatch(path.name)]
    yield from sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _checked(path: Path) -> Checkpoint | None:
    try:
        facts: Any = json.loads(path.read_bytes())
        tensors = path.with_suffix(".safetensors")
        if store.sha256(tensors) != facts["sha256"]:
            return None
        return Checkpoint(int(facts["step"]), tensors, str(facts["digest"]))
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
