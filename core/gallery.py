"""Pictures in the outbox: their names, what is written into them, and how they get there.

A picture's bytes depend on its request alone: the graph in it carries the template's own
``filename_prefix``, the record no job id and no time. So the same request and seed gives the
same file twice, and dragging it into ComfyUI brings the graph back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bridge.request import Request
from bridge.workflow import Workflow
from core import png_text
from models import store

RECORD = "vulcan"  # keyword of our record
GRAPH = "prompt"  # keyword under which ComfyUI looks for the graph


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a picture was made with, beside its request.

    Attributes:
        unet_sha256: hash of the diffusion model file.
        loras: hash by file name, for the request's LoRAs.
        host: the host's software, as it names itself.
    """

    unet_sha256: str
    loras: Mapping[str, str]
    host: str


def record(request: Request, provenance: Provenance) -> str:
    """Return the JSON that makes a picture repeatable: request, seed, hashes, software."""
    entry: dict[str, Any] = {
        "request": asdict(request),
        "unet_sha256": provenance.unet_sha256,
        "lora_sha256": dict(provenance.loras),
        "host": provenance.host,
    }
    return json.dumps(entry, ensure_ascii=False, sort_keys=True)


def inscribed(png: bytes, graph: Workflow, note: str) -> bytes:
    """Return the picture with graph and record in its text chunks.

    Raises:
        png_text.PngError: the host sent something else than a whole PNG.
    """
    return png_text.with_texts(png, {GRAPH: json.dumps(graph, ensure_ascii=False), RECORD: note})


def choose_paths(outbox: Path, name: str, count: int) -> list[Path]:
    """Return free names for a job's pictures; several get letters behind the index.

    A name is taken only by pictures of an earlier journal: within one, names are unique.
    """
    parts = [""] if count == 1 else [f"_{part + 1}" for part in range(count)]
    attempt, stem = 1, name
    while any((outbox / f"{stem}{part}.png").exists() for part in parts):
        attempt += 1
        stem = f"{name}~{attempt}"
    return [outbox / f"{stem}{part}.png" for part in parts]


def save(paths: Sequence[Path], pictures: Sequence[bytes]) -> None:
    """Write the pictures, each whole or not at all; writing the same again is harmless.

    Raises:
        OSError: disk full, no permission.
    """
    for path, picture in zip(paths, pictures, strict=True):
        try:
            _save_one(path, picture)
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk does not name the file
            raise


def _save_one(path: Path, picture: bytes) -> None:
    # One name, not a random one: after a kill -9 the job is filed again under the same path, and
    # takes the scrap over. The director's lock keeps a second writer away.
    temp = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temp.write_bytes(picture)
        store.publish(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
