"""``.claimed``: taking files into it, and finding them there again.

Taking is one rename of the prompt file, which only one of several claimants can win; its picture
follows. A kill between the two leaves a prompt file whose name promises a picture that still lies
in the inbox, and :meth:`ClaimedFolder.left_over` brings it. What is in a file, and when it is ready
to be taken, is not known here.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.claim import (
    CLAIMED,
    Claim,
    ClaimName,
    LeavingName,
    clean,
    fit,
    is_picture,
    split,
    stem,
)
from core.free_name import free_stem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A prompt file in the inbox that is ready.

    Attributes:
        batch: its folder below the inbox, as it is spelled on disk.
        name: its name, as it is spelled on disk.
        arrived: nanoseconds since the epoch; renames and writes set it.
        image: name of the picture beside it; empty for none.
    """

    batch: str
    name: str
    arrived: int
    image: str = ""


@dataclass(frozen=True, slots=True)
class _Inside:
    """What a folder below ``.claimed`` holds."""

    batch: str
    path: Path
    claims: list[ClaimName]
    pictures: set[str]
    leaving: list[LeavingName]


class ClaimedFolder:
    """The claimed files of one drop folder.

    Args:
        inbox: the drop folder.
        stamp: nanoseconds since the epoch, for the names of claims.
    """

    def __init__(self, inbox: Path, stamp: Callable[[], int]) -> None:
        self._inbox, self._stamp = inbox, stamp
        self._path = inbox / CLAIMED
        self._count = 0

    def take(self, found: Found) -> Claim | None:
        """Claim a prompt file and its picture.

        Returns:
            The claim; ``None`` when somebody took the file back, or took it first.

        Raises:
            OSError: it cannot be moved now; it lies where it lay.
        """
        batch = clean(found.batch)
        folder = self._path / batch if batch else self._path
        lying = self._inbox / found.batch if batch else self._inbox
        name = self._new_name(found, folder)
        source, target = lying / found.name, folder / name.prompt
        try:
            _move(source, target)
        except FileNotFoundError:
            return None
        if name.image:
            _move_picture(lying / found.image, folder / name.picture, source, target)
        return self._claim(batch, name, target)

    def find(self, name: str) -> Claim | None:
        """Return a claim by name; ``None`` when its file is no longer there."""
        batch, _, last = name.rpartition("/")
        parsed = ClaimName.parse(last)
        if parsed is None or not _is_below(batch) or not _is_file(self._path / name):
            return None
        return self._claim(batch, parsed, self._path / name)

    def left_over(self) -> list[Claim]:
        """Return all claims, oldest first, after repairing what a kill left half moved."""
        found: list[tuple[ClaimName, str]] = []
        for inside in self._insides():
            self._repair(inside)
            found += [(name, inside.batch) for name in inside.claims]
        found.sort(key=lambda each: (each[0].stamp, each[0].number, each[0].file))
        return [self._claim(batch, name, self._path / batch / name.prompt) for name, batch in found]

    def tidy(self, folder: Path) -> None:
        """Remove a batch's folder in ``.claimed``, and those above it, once they are empty."""
        while folder != self._path and self._path in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _new_name(self, found: Found, folder: Path) -> ClaimName:
        image = split(found.image)[1] if found.image else ""
        while True:
            self._count += 1
            name = ClaimName(self._stamp(), self._count, fit(found.name), image)
            if not os.path.lexists(f"{folder}/{name.prompt}"):
                return name

    def _claim(self, batch: str, name: ClaimName, path: Path) -> Claim:
        image = path.with_name(name.picture) if name.image else None
        if image and not _is_file(image):
            image = None
        whole = f"{batch}/{path.name}" if batch else path.name
        return Claim(whole, name.file, path, batch, image)

    # Repairing

    def _insides(self) -> Iterator[_Inside]:
        def complain(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                logger.warning("%s cannot be read: %s", clean(str(error.filename)), error.strerror)

        for place, _, files in os.walk(self._path, onerror=complain):
            batch = "" if place == str(self._path) else os.path.relpath(place, self._path)
            if batch == clean(batch):  # we make no others, and the journal could not hold them
                yield self._inside(batch, Path(place), files)

    def _inside(self, batch: str, path: Path, files: list[str]) -> _Inside:
        inside = _Inside(batch, path, [], set(), [])
        for file in files:
            if name := ClaimName.parse(file):
                inside.claims.append(name)
            elif leaving := LeavingName.parse(file):
                inside.leaving.append(leaving)
            elif is_picture(file):
                inside.pictures.add(file)
            else:
                logger.warning("left alone: %s is no claim of ours", clean(f"{path}/{file}"))
        return inside

    def _repair(self, inside: _Inside) -> None:
        owners = {(name.stamp, name.number): name for name in inside.claims}
        for leaving in inside.leaving:
            owner = owners.get((leaving.stamp, leaving.number))
            try:
                self._settle_leaving(inside, leaving, owner)
            except OSError as error:
                logger.warning("%s: its picture stays in %s: %s", leaving.file, CLAIMED, error)
        for name in inside.claims:
            if name.image and name.picture not in inside.pictures:
                self._fetch_picture(inside, name)
        for picture in inside.pictures - {name.picture for name in inside.claims}:
            logger.warning("left alone: the prompt file of %s/%s is gone", inside.path, picture)

    def _settle_leaving(
        self, inside: _Inside, leaving: LeavingName, owner: ClaimName | None
    ) -> None:
        """Bring a picture on its way back to its prompt file, or after it if that has left."""
        source = inside.path / _leaving_name(leaving)
        if owner:
            source.rename(inside.path / owner.picture)
            inside.pictures.add(owner.picture)
            return
        folder = self._inbox / leaving.folder / inside.batch
        name, suffix = split(leaving.file)
        _move(source, folder / (free_stem(folder, name, [suffix]) + suffix))

    def _fetch_picture(self, inside: _Inside, name: ClaimName) -> None:
        """Bring the picture of a claim that a kill cut in two; a missing one was taken away."""
        source = self._inbox / inside.batch / (stem(name.file) + name.image)
        if _is_file(source):
            try:
                source.rename(inside.path / name.picture)
            except OSError as error:
                logger.warning("%s: its picture stays in the inbox: %s", name.file, error)


def _is_below(batch: str) -> bool:
    return not batch or not {"", ".", ".."} & set(batch.split("/"))


def _leaving_name(leaving: LeavingName) -> str:
    return ClaimName(leaving.stamp, leaving.number, "").leaving(leaving.folder, leaving.file)


def _move_picture(source: Path, target: Path, prompt: Path, claimed: Path) -> None:
    """Bring a picture after its prompt file, which goes back where this cannot be.

    Raises:
        OSError: the picture cannot be moved now; both lie where they lay.
    """
    try:
        _move(source, target)
    except FileNotFoundError:
        return  # taken away in this moment
    except OSError:
        if os.path.lexists(prompt):
            return  # a new file has its name: this one stays claimed, without the picture
        _move(claimed, prompt)
        raise


def _move(source: Path, target: Path) -> None:
    """Rename, and make the folder it goes to where that is missing."""
    try:
        source.rename(target)
    except FileNotFoundError:
        if not os.path.lexists(source):
            raise
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # too long for a name, or in a folder that we may not enter
