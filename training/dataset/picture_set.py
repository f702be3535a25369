"""The pictures of a training with their captions, and one hash over all of it.

A folder holds pictures; a caption is the ``.txt`` beside one, of the same stem. Sub-folders count.
``[trigger]`` in a caption stands for the trigger word; a caption that does not hold the word gets
it put in front (ai-toolkit does the same). Only reads.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models import store
from training.dataset import caption_file, pixels
from training.errors import TrainingError

PLACEHOLDER = "[trigger]"


@dataclass(frozen=True, slots=True)
class Item:
    """One picture.

    Attributes:
        file: relative to the folder, with slashes.
        sha256: of the file.
        width: in pixels, upright.
        height: in pixels, upright.
        caption: what it is trained to show; holds the trigger word.
    """

    file: str
    sha256: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True, slots=True)
class PictureSet:
    """All pictures of a training, sorted by file name.

    Attributes:
        items: the pictures.
        hash: over their bytes and captions, whatever the files are called.
    """

    items: tuple[Item, ...]
    hash: str


def read(folder: Path, trigger: str) -> PictureSet:
    """Read a folder.

    Raises:
        TrainingError: there is no such folder, no picture in it, or one that cannot be read.
    """
    items = tuple(_item(folder, path, trigger) for path in picture_files(folder))
    if not items:
        raise TrainingError(
            "there are no pictures",
            path=folder,
            fix=f"Put some there: {', '.join(pixels.SUFFIXES)}",
        )
    return of(items)


def of(items: Iterable[Item]) -> PictureSet:
    """Return the set of these pictures."""
    ordered = tuple(items)
    return PictureSet(ordered, _hash(ordered))


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures below a folder, sorted; hidden files and folders do not count.

    Raises:
        TrainingError: there is no such folder.
    """
    return [path for path in all_files(folder) if path.suffix.lower() in pixels.SUFFIXES]


def all_files(folder: Path) -> list[Path]:
    """Return the files below a folder, sorted; hidden ones do not count, links are not entered.

    Raises:
        TrainingError: there is no such folder.
    """
    if not folder.is_dir():
        raise TrainingError("there is no such folder", path=folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def holds(caption: str, trigger: str) -> bool:
    """Return whether a caption holds the trigger word, as a word of its own."""
    return bool(re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE))


def with_trigger(caption: str, trigger: str) -> str:
    """Return a caption that holds the trigger word."""
    text = " ".join(caption.split()).replace(PLACEHOLDER, trigger)
    if holds(text, trigger):
        return text
    return f"{trigger}, {text}" if text else trigger


def write(path: Path, pictures: PictureSet) -> None:
    """Write a set's list.

    Raises:
        OSError: the disk refuses.
    """
    # ASCII only, so that a file name that is no UTF-8 survives.
    store.atomic_write(path, json.dumps(asdict(pictures), indent=1).encode())


def load(path: Path) -> PictureSet:
    """Read back what :func:`write` wrote.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        table: Any = json.loads(path.read_bytes())
        return PictureSet(tuple(Item(**item) for item in table["items"]), str(table["hash"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError("cannot be read", path=path, why=str(error)) from error


def _item(folder: Path, path: Path, trigger: str) -> Item:
    image = pixels.read(path)
    return Item(
        file=path.relative_to(folder).as_posix(),
        sha256=store.sha256(path),
        width=image.width,
        height=image.height,
        caption=with_trigger(caption_file.read(path).text, trigger),
    )


def _hash(items: tuple[Item, ...]) -> str:
    lines = sorted(f"{item.sha256} {item.caption}" for item in items)
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()
