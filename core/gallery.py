"""Pictures in the outbox: their names and how they get there.

What is in a picture is :mod:`core.inscription`'s part. A name is chosen once, noted in the journal,
and then written to, however often the writing is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models import store

SIDECAR = ".json"


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to be kept.

    Attributes:
        content: its bytes.
        suffix: ending of its name, with the dot.
        sidecar: JSON to lie beside it; ``None`` where the file carries everything itself.
    """

    content: bytes
    suffix: str = ".png"
    sidecar: bytes | None = None


def choose_paths(outbox: Path, name: str, suffixes: Sequence[str], batch: str = "") -> list[Path]:
    """Return free names for a job's pictures; several get numbers behind the index.

    A name is taken only by pictures of an earlier journal: within one, names are unique.

    Args:
        outbox: folder of all pictures.
        name: stem, without a folder.
        suffixes: one ending per picture.
        batch: sub-folder, with slashes; parts of it that lead elsewhere or hide are left out.
    """
    folder = outbox.joinpath(*(part for part in PurePosixPath(batch).parts if _is_plain(part)))
    several = len(suffixes) > 1
    parts = [f"_{number}" if several else "" for number in range(1, len(suffixes) + 1)]
    attempt, stem = 1, name
    while any(
        _is_taken(folder, f"{stem}{part}", end) for part, end in zip(parts, suffixes, strict=True)
    ):
        attempt += 1
        stem = f"{name}~{attempt}"
    return [folder / f"{stem}{part}{end}" for part, end in zip(parts, suffixes, strict=True)]


def save(paths: Sequence[Path], pictures: Sequence[Picture]) -> None:
    """Write the pictures, each whole or not at all; writing the same again is harmless.

    Raises:
        OSError: disk full, no permission.
    """
    for path, picture in zip(paths, pictures, strict=True):
        try:
            if picture.sidecar is not None:  # first: a picture is never seen without its record
                _save_one(path.with_suffix(SIDECAR), picture.sidecar)
            _save_one(path, picture.content)
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk does not name the file
            raise


def _is_plain(part: str) -> bool:
    return not part.startswith((".", "/"))


def _is_taken(folder: Path, stem: str, suffix: str) -> bool:
    beside = [] if suffix == ".png" else [SIDECAR]
    return any((folder / f"{stem}{end}").exists() for end in (suffix, *beside))


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
