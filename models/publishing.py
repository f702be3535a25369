"""Model files on their way to the folder that a host reads: never half, never mixed up.

A file is copied (:mod:`models.safe_copy`) under a name that no host lists, and then renamed to
one that tells its content (``style-1a2b3c4d.safetensors``). So a file that a host may be reading
is never replaced, and a name means the same picture for ever. What lies there already is used as
it is. Room is looked at before the first byte.

It knows files and folders; which of them make up a pair is not its business, nor who still
needs one.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from models import safe_copy, store
from models.errors import ModelError
from models.ledger import Ledger
from models.safe_copy import Report, SafeCopy
from models.store import Folder

MARK = 8  # digits of the hash in a published name
SPARE = 16 << 20  # bytes that stay free on a disk
_LONGEST_STEM = 180  # bytes, so that name and temporary name fit into 255
_BAD_ON_WINDOWS = re.compile(r'[<>:"\\|?*\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Source:
    """A file that hosts are to have.

    Attributes:
        folder: its kind.
        path: where it lies.
        name: what its models folder lists it under; its plain name if it lies in none.
        sha256: of its content.
        size: bytes.
    """

    folder: Folder
    path: Path
    name: str
    sha256: str
    size: int

    @property
    def published_name(self) -> str:
        """The name that tells the content; itself if it is such a name already."""
        return versioned(self.name, self.sha256)


def versioned(name: str, sha256: str) -> str:
    """Put the first digits of a model file's hash behind its stem, without any sub-folder.

    A name that is nothing but its suffix has an empty stem (pathlib would call it all stem).
    """
    plain = PurePosixPath(name.encode(errors="replace").decode()).name
    stem, _, suffix = _BAD_ON_WINDOWS.sub("_", plain).rpartition(".")
    mark = f"-{sha256[:MARK]}"
    stem = stem.removesuffix(mark).encode()[:_LONGEST_STEM].decode(errors="ignore")
    return f"{stem}{mark}.{suffix}"


def check_target(models: Path) -> None:
    """Make sure that a folder is, or may become, a ComfyUI's models folder.

    Raises:
        ModelError: it is not there, or looks like something else.
    """
    if not models.is_dir():
        raise ModelError(
            "there is no such folder",
            path=models,
            fix="Name ComfyUI's models folder, such as /mnt/c/ComfyUI/models, or make it",
        )
    kinds = [place.name for folder in Folder for place in store.places(models, folder)]
    there = {entry.name for entry in models.iterdir()}
    if there.isdisjoint(kinds) and any(not name.startswith(".") for name in there):
        inner = models / "models"
        raise ModelError(
            f"it is no models folder: none of {', '.join(kinds)} is in it",
            path=models,
            fix=f"Did you mean {inner}?" if inner.is_dir() else "Make one of them there",
        )


class Publisher:
    """Puts files into models folders for one owner.

    Args:
        owner: id of the state folder that uses them.
        cache: hash cache of :mod:`models.store`.
        report: told what is being copied, and the share done.
    """

    def __init__(self, owner: str, cache: Path, report: Report) -> None:
        self._owner, self._cache, self._report = owner, cache, report

    def publish(self, files: Mapping[Source, Sequence[Path]]) -> dict[Source, str]:
        """Have each of these files in each of its models folders; return its name there.

        A file keeps its own name where every folder has it under that name already.

        Raises:
            ModelError: no room, a folder that cannot be written, a source that changed.
        """
        for models in {models for folders in files.values() for models in folders}:
            self._sweep(models)
        names: dict[Source, str] = {}
        wanted: list[tuple[Source, Path]] = []
        for source, folders in files.items():
            everywhere = all(self._has(models, source, source.name) for models in folders)
            names[source] = name = source.name if everywhere else source.published_name
            wanted += [(source, one) for one in folders if not self._claimed(one, source, name)]
        left = [(source, models) for source, models in wanted if not self._linked(source, models)]
        _check_room(left)
        for source, models in left:
            self._copied(source, models)
        return names

    def _has(self, models: Path, source: Source, name: str) -> bool:
        """Tell whether a folder has the file's content under this name."""
        for place in store.places(models, source.folder):
            path = place / name
            if path.is_file() and path.stat().st_size == source.size:
                return store.cached_sha256(path, self._cache) == source.sha256
        return False

    def _claimed(self, models: Path, source: Source, name: str) -> bool:
        """Tell whether a folder has the file; if it was published there, it is ours as well."""
        if not self._has(models, source, name):
            return False
        ledger = Ledger(models, self._owner)
        for place in store.places(models, source.folder):
            entered = f"{place.name}/{name}"
            if entered in ledger.files:
                _writing(models, partial(self._enter, models, entered, source))
        return True

    def _enter(self, models: Path, file: str, source: Source) -> None:
        Ledger(models, self._owner).enter(file, source.sha256, source.size)

    def _linked(self, source: Source, models: Path) -> bool:
        """Give a file that lies in this very models folder its second name, which costs nothing.

        Whoever replaces the first one by renaming, as Vulcan does, leaves this content as it was.
        """
        inside = any(source.path.is_relative_to(p) for p in store.places(models, source.folder))
        target = self._target(models, source)
        if not inside or target.exists():
            return False
        try:
            self._enter(models, target.relative_to(models).as_posix(), source)
            _link(source.path, target)
        except OSError:
            return False  # exFAT, some network drives: a copy it is
        store.remember_sha256(target, self._cache, source.sha256)
        return True

    def _copied(self, source: Source, models: Path) -> None:
        target = self._target(models, source)
        copy = SafeCopy(
            source=source.path,
            sha256=source.sha256,
            target=target,
            temp=target.with_name(f".{target.name}.{self._owner}.part"),
        )
        entered = target.relative_to(models).as_posix()

        def work() -> None:
            copy.run(self._report, lambda: self._enter(models, entered, source))

        _writing(models, work)
        store.remember_sha256(target, self._cache, source.sha256)

    def _target(self, models: Path, source: Source) -> Path:
        places = store.places(models, source.folder)
        home = next((place for place in places if place.is_dir()), places[0])
        return home / source.published_name

    def _sweep(self, models: Path) -> None:
        """Remove what a kill left of this owner's copies."""
        for place in (models, *(one for kind in Folder for one in store.places(models, kind))):
            for left in place.glob(f".*.{self._owner}.part"):
                with suppress(OSError):
                    left.unlink()

    # Taking back

    def withdraw(self, models: Path, used: set[tuple[Folder, str]]) -> Iterator[Path]:
        """Remove from a folder what was published for this owner and is not used; yield each.

        A file that other owners claim, whose size is another than was published, or that a
        program holds, stays.

        Args:
            models: the folder.
            used: kind and name of the files that are needed still.

        Raises:
            ModelError: the folder cannot be written.
        """
        self._sweep(models)
        ledger = Ledger(models, self._owner)
        for file, entry in list(ledger.files.items()):
            if not ledger.is_claimed(file) or _is_used(models, file, used):
                continue
            if ledger.let_go(file) and _removed(models / file, entry.size):
                ledger.forget(file)
                yield models / file


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; one that is itself a link to another disk, a second link."""
    real = source.resolve()
    try:
        target.hardlink_to(real)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        target.symlink_to(real)


def _is_used(models: Path, file: str, used: set[tuple[Folder, str]]) -> bool:
    place, _, name = file.partition("/")
    return any(
        (kind, name) in used for kind in Folder if models / place in store.places(models, kind)
    )


def _removed(path: Path, size: int) -> bool:
    """Remove a published file; tell whether it is gone, or was not what was published."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == size:
            try:
                safe_copy.patiently(path.unlink)
            except OSError:
                return False
    return True


def _check_room(copies: Sequence[tuple[Source, Path]]) -> None:
    """Refuse before the first byte what the disks have no room for."""
    needed: dict[int, int] = {}
    where: dict[int, Path] = {}
    for source, models in copies:
        device = models.stat().st_dev
        needed[device] = needed.get(device, 0) + source.size
        where.setdefault(device, models)
    for device, size in needed.items():
        disk = os.statvfs(where[device])
        free = disk.f_bavail * disk.f_frsize
        if size + SPARE > free:
            raise ModelError(
                "there is no room for the pair",
                path=where[device],
                why=f"{size / 1e6:,.1f} MB are to be copied there, {free / 1e6:,.1f} MB are free",
                fix="Make room, or let `pair --prune` remove versions that nothing uses",
            )


def _writing(models: Path, work: Callable[[], None]) -> None:
    """Do something in a models folder; what the disk refuses is an error that says what to do."""
    try:
        work()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        told = "Make room" if full else "Give yourself the right to write there"
        raise ModelError(
            "files cannot be published there",
            path=models,
            why=error.strerror or str(error),
            fix=f"{told}; what was there before is as it was",
        ) from error
