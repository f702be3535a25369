"""What lies in a drop folder: its prompt files and pictures, folder by folder.

Looks at names and kinds only, and opens nothing. What is no prompt file is left alone with a line
in the log; whether a file's writer is done is not known here.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from core.claim import COMPLAINT, DONE, FAILED, IMAGE_SUFFIXES, SUFFIXES, clean, split, stem
from core.notices import Notices

DEEPEST = 8  # sub-folders below one another
OURS = frozenset({DONE, FAILED})  # in the inbox itself; hidden folders are never entered
LONE_PICTURE = 60.0  # seconds until a picture without a prompt file is worth a line
PASSING = 2.0  # seconds an odd name must stay: editors make some for a moment
# Left by programs beside a file, and no news to anybody.
_PASSING = (".part", ".tmp", ".crdownload", ".swp", "~", ":Zone.Identifier", ".lock")
_OF_WINDOWS = frozenset({"desktop.ini", "thumbs.db"})

Entry: TypeAlias = "os.DirEntry[str]"


@dataclass(slots=True)
class Listing:
    """One folder.

    Attributes:
        batch: its path below the inbox, with slashes; empty for the inbox.
        path: its whole path.
        prompts: files that may hold prompts.
        images: a picture by its stem.
        folders: sub-folders that are looked into too.
        is_empty: nothing at all is in it.
    """

    batch: str
    path: str
    prompts: list[Entry] = field(default_factory=list)
    images: dict[str, Entry] = field(default_factory=dict)
    folders: list[Entry] = field(default_factory=list)
    is_empty: bool = True


def listings(inbox: str, watch: Callable[[str], None], notices: Notices) -> Iterator[Listing]:
    """Yield the inbox and each of its sub-folders.

    Args:
        inbox: the folder.
        watch: called with each folder's path before it is read.
        notices: hears of what is left alone.

    Raises:
        OSError: the inbox itself cannot be read; a sub-folder is told to ``notices``.
    """
    waiting = [("", inbox)]
    while waiting:
        batch, path = waiting.pop()
        watch(path)
        try:
            listing = _read(batch, path, notices)
        except OSError as error:
            if not batch:
                raise
            if not isinstance(error, FileNotFoundError):  # removed since its parent was read
                why = error.strerror
                notices.tell(path, "%s cannot be read: %s", clean(path), why, level=logging.WARNING)
            continue
        below = batch + "/" if batch else ""
        waiting += [(below + folder.name, folder.path) for folder in listing.folders]
        yield listing


def _read(batch: str, path: str, notices: Notices) -> Listing:
    listing = Listing(batch, path)
    with os.scandir(path) as entries:
        for entry in entries:
            listing.is_empty = False
            if not entry.name.startswith("."):
                try:
                    _sort(listing, entry, notices)
                except OSError as error:  # a link in a circle, or into a locked folder
                    _leave(listing, entry, notices, f"cannot be looked at: {error.strerror}")
    _tell_lone_pictures(listing, notices)
    return listing


def _sort(listing: Listing, entry: Entry, notices: Notices) -> None:
    """Put an entry where it belongs."""
    name, suffix = split(entry.name)
    is_prompt = suffix.lower() in SUFFIXES and not entry.name.startswith("~$")
    if is_prompt and entry.name.endswith(COMPLAINT):
        _leave(listing, entry, notices, "tells what was wrong with another file")
    elif is_prompt and _is_usable(entry):
        listing.prompts.append(entry)
    elif entry.is_dir(follow_symlinks=False):
        _sort_folder(listing, entry, notices)
    elif suffix in IMAGE_SUFFIXES and _is_usable(entry):
        _keep_image(listing.images, name, entry)
    elif not (entry.name.endswith(_PASSING) or entry.name.lower() in _OF_WINDOWS):
        _leave(listing, entry, notices, _why_unusable(entry))


def _sort_folder(listing: Listing, entry: Entry, notices: Notices) -> None:
    if not listing.batch and entry.name in OURS:
        return
    if listing.batch.count("/") + bool(listing.batch) >= DEEPEST:
        _leave(listing, entry, notices, f"lies more than {DEEPEST} folders deep")
    else:
        listing.folders.append(entry)


def _keep_image(images: dict[str, Entry], name: str, entry: Entry) -> None:
    """Of several pictures with one stem, keep the kind that comes first in our list."""
    other = images.get(name)
    if other is None or _rank(entry.name) < _rank(other.name):
        images[name] = entry


def _rank(name: str) -> tuple[int, str]:
    return IMAGE_SUFFIXES[split(name)[1]], name


def _is_usable(entry: Entry) -> bool:
    """Whether it is a file that can be moved; FIFOs, sockets and devices are never opened."""
    return entry.is_file() and not (entry.is_symlink() and not _is_absolute(entry.path))


def _is_absolute(link: str) -> bool:
    try:
        return Path(link).readlink().is_absolute()
    except OSError:
        return False


def _why_unusable(entry: Entry) -> str:
    if entry.is_symlink():
        if entry.is_dir():
            return "is a link to a folder, which is not followed"
        return "is a link that would not survive a move; make it with its target's full path"
    if not entry.is_file(follow_symlinks=False):
        return "is no regular file"
    return f"is no prompt file ({' '.join(sorted(SUFFIXES))})"


def _leave(listing: Listing, entry: Entry, notices: Notices, why: str) -> None:
    name = clean(f"{listing.batch}/{entry.name}".lstrip("/"))
    notices.tell(entry.path, "left alone: %s %s", name, why, after=PASSING)


def _tell_lone_pictures(listing: Listing, notices: Notices) -> None:
    if not listing.images:
        return
    stems = {stem(entry.name) for entry in listing.prompts}
    for name in listing.images.keys() - stems:
        entry = listing.images[name]
        notices.tell(
            entry.path,
            "left alone: picture %s, until a prompt file with its name comes (%s.txt)",
            *(clean(entry.name), clean(name)),
            level=logging.INFO,
            after=LONE_PICTURE,
        )
