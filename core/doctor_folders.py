"""The doctor on folders: can we really write there, is there room, does it suit what it is for.

Permissions are not computed but tried: a file is written, synced, renamed, read and deleted, as
pictures and states are. The file is hidden, so a drop folder that is watched leaves it alone.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.finding import Finding, fine, note, problem, warning
from models.file_system import REMOTE, file_system

MB = 1 << 20
SAMPLE = b"vulcan doctor\n" * 300


@dataclass(frozen=True, slots=True)
class Place:
    """A folder and what is asked of it.

    Attributes:
        name: the setting that names it, ``folders.outbox``.
        path: the folder.
        writes: whether we must write there; else reading is enough.
        wanted: bytes below which there is a warning.
        needed: bytes below which nothing works.
        local: whether it must lie on a Linux disk.
    """

    name: str
    path: Path
    writes: bool = True
    wanted: int = 0
    needed: int = 0
    local: bool = False


def findings(place: Place) -> Iterator[Finding]:
    """Try one folder; a folder that is not there yet is judged by the one it will be made in."""
    there = _existing(place.path)
    if there is None or not there.is_dir():
        yield _no_folder(place, there)
        return
    if there != place.path:
        yield from _to_be_made(place, there)
    elif place.writes:
        yield _writing(place)
    else:
        yield _reading(place)
    yield _room(place, there)
    yield from _file_system(place, there)


def _existing(path: Path) -> Path | None:
    """Return the folder, or the nearest above it that is there."""
    for candidate in (path, *path.parents):
        if os.path.lexists(candidate):
            return candidate
    return None


def _no_folder(place: Place, there: Path | None) -> Finding:
    return problem(
        f"folder.{_key(place)}",
        f"{there or place.path} is no folder",
        "nothing can be put there",
        f"move it away, or set {place.name} to another folder",
    )


def _to_be_made(place: Place, there: Path) -> Iterator[Finding]:
    if os.access(there, os.W_OK | os.X_OK):
        yield note(
            f"folder.{_key(place)}", f"{place.path} is not there yet; it is made when needed"
        )
        return
    yield problem(
        f"folder.{_key(place)}",
        f"{place.path} cannot be made: {there} is not writable for us",
        "the director cannot start",
        f"sudo mkdir -p '{place.path}' && sudo chown $USER '{place.path}', or set {place.name}",
    )


def _writing(place: Place) -> Finding:
    """Write, sync, rename, read and delete one file."""
    name = f"folder.{_key(place)}"
    scrap = place.path / f".vulcan-doctor-{os.getpid()}.part"
    final = scrap.with_suffix(".tmp")
    try:
        with scrap.open("wb") as file:
            file.write(SAMPLE)
            file.flush()
            os.fsync(file.fileno())
        scrap.rename(final)
        same = final.read_bytes() == SAMPLE
        final.unlink()
    except OSError as error:
        return _not_writable(place, error)
    finally:
        for path in (scrap, final):
            with suppress(OSError):
                path.unlink(missing_ok=True)
    if same:
        return fine(name, f"{place.path}: written, synced, renamed, read and deleted a file")
    return problem(
        name,
        f"{place.path} gave back something else than was written",
        "pictures there cannot be trusted",
        f"check that disk, and set {place.name} to a folder on another one",
    )


def _not_writable(place: Place, error: OSError) -> Finding:
    fixes = {
        errno.EROFS: f"the disk is mounted read-only: see dmesg, or set {place.name}",
        errno.ENOSPC: f"make room, or set {place.name} to a folder on another disk",
        errno.EDQUOT: f"your quota is used up: make room, or set {place.name}",
    }
    usual = f"sudo chown -R $USER '{place.path}', or set {place.name} to a folder of yours"
    return problem(
        f"folder.{_key(place)}",
        f"{place.path} cannot be written ({error.strerror})",
        "the director writes, syncs, renames and deletes files there",
        fixes.get(error.errno or 0, usual),
    )


def _reading(place: Place) -> Finding:
    if os.access(place.path, os.R_OK | os.X_OK):
        return fine(f"folder.{_key(place)}", f"{place.path} can be read")
    return problem(
        f"folder.{_key(place)}",
        f"{place.path} cannot be read",
        "the files in it cannot be found",
        f"sudo chmod -R u+rX '{place.path}', or set {place.name}",
    )


def _room(place: Place, there: Path) -> Finding:
    name = f"disk.{_key(place)}"
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return note(name, f"the room at {there} cannot be told ({error.strerror})")
    told = f"{free / MB:,.0f} MB are free for {place.path}"
    fix = f"make room, or set {place.name} to a folder on another disk"
    if free < place.needed:
        why = f"at least {place.needed / MB:,.0f} MB are needed; jobs wait until there is room"
        return problem(name, told, why, fix)
    if free < place.wanted:
        why = f"{place.wanted / MB:,.0f} MB are wished for; a night's pictures may fill it"
        return warning(name, told, why, fix)
    return fine(name, told)


def _file_system(place: Place, there: Path) -> Iterator[Finding]:
    if not place.local:
        return
    kind = file_system(there)
    if kind not in REMOTE:
        yield fine(f"folder.{_key(place)}-disk", f"{place.path} lies on {kind or 'a local disk'}")
        return
    yield problem(
        f"folder.{_key(place)}-disk",
        f"{place.path} lies on {kind}, a bridge to another system",
        "SQLite's locks are not safe there: two directors could take the same job",
        "set VULCAN_STATE to a folder on a Linux disk, such as ~/.local/state/vulcan",
    )


def _key(place: Place) -> str:
    return place.name.rsplit(".", 1)[-1]
