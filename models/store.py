"""Model files on disk: find, hash, publish atomically.

Folder names are ComfyUI's, so that a ComfyUI user knows the tree and a folder can be shared with
it. The only file in models/ that writes; it does not know what is inside a file.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from models.errors import ModelError

MODEL_SUFFIXES = (".gguf", ".safetensors")
_HASH_CHUNK = 1 << 20


class Folder(StrEnum):
    """ComfyUI's folder for each kind of model, below the models folder."""

    UNET = "unet"
    LORAS = "loras"
    TEXT_ENCODERS = "text_encoders"
    VAE = "vae"


# ComfyUI looks for a kind in each of these (folder_paths.py, 0.3.64); the first is Vulcan's own.
_SPELLINGS = {
    Folder.UNET: ("unet", "diffusion_models"),
    Folder.LORAS: ("loras",),
    Folder.TEXT_ENCODERS: ("text_encoders", "clip"),
    Folder.VAE: ("vae",),
}


def places(models: Path, kind: Folder) -> list[Path]:
    """Where a models folder may hold files of a kind, by all of ComfyUI's names."""
    return [models / name for name in _SPELLINGS[kind]]


def names(folder: Path) -> list[str]:
    """The model files below `folder` as ComfyUI lists them: relative, sorted, with sub-folders."""
    # As ComfyUI does, links are followed: models often lie on another disk.
    walked = os.walk(folder, followlinks=True)
    files = (Path(place) / name for place, _, names in walked for name in names)
    return sorted(
        path.relative_to(folder).as_posix() for path in files if path.suffix in MODEL_SUFFIXES
    )


def find(folders: Path | Iterable[Path], name: str) -> Path:
    """The first of `folders` that has the file `name` (as ComfyUI lists it).

    Raises:
        ModelError: none has it, or the name leads out of the folder.
    """
    places = [folders] if isinstance(folders, Path) else list(folders)
    for folder in places:
        # By its words, not by where links lead: a linked file is the user's own doing.
        path = Path(os.path.normpath(folder / name))
        if path.is_relative_to(os.path.normpath(folder)) and path.is_file():
            return path
    known = sorted({other for folder in places for other in names(folder)})
    raise ModelError(
        f"there is no model file {name!r} in {', '.join(map(str, places))}",
        why=f"what is there: {', '.join(known)}" if known else "no model file is there",
        fix="Put it there, or name one that is",
    )


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex, read in small pieces."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_HASH_CHUNK))
    with _readable(path).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def cached_sha256(path: Path, cache: Path) -> str:
    """Like sha256, but read again only when the file's size, time or inode changed.

    A 7 GB file costs ten seconds to hash and is hashed at every start otherwise. `cache` is a JSON
    file that may be deleted at any time.
    """
    key = stamp(path)
    known = _read_cache(cache)
    name = str(path.resolve())
    match known.get(name):
        case [str(seen), str(digest)] if seen == key:
            return digest
    digest = sha256(path)
    _note(cache, known | {name: [key, digest]})
    return digest


def remember_sha256(path: Path, cache: Path, digest: str) -> None:
    """Note the hash of a file that was just read or written as a whole, for cached_sha256."""
    _note(cache, _read_cache(cache) | {str(path.resolve()): [stamp(path), digest]})


def stamp(path: Path) -> str:
    """What changes when somebody writes to a file: its size, time and inode.

    Raises:
        ModelError: there is no such file.
    """
    stat = _readable(path).stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"


def _note(cache: Path, table: Mapping[str, object]) -> None:
    atomic_write(cache, json.dumps(table, indent=1).encode())


def _read_cache(cache: Path) -> dict[str, object]:
    """The cache's table; an unreadable cache is an empty one, its entries are only ever a help."""
    try:
        table = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise ModelError("there is no such file", path=path)
    return path


def publish(temp: Path, final: Path) -> None:
    """Give a finished file its name: after this it survives a power cut, before it nobody sees it.

    Both must lie in the same folder (a rename across file systems is no rename).
    """
    fd = os.open(temp, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    temp.replace(final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def atomic_write(path: Path, content: bytes) -> None:
    """Write a small file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temp = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        temp.chmod(0o644)  # mkstemp makes it private; a model file is like any other
        publish(temp, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temp.unlink()
        raise
