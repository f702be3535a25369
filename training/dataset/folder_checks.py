"""What is wrong with the files of a data set by their names alone.

Also what lies there and is not trained. Looks at names and kinds, opens nothing.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from training.dataset import caption_file, pixels
from training.dataset.finding import Finding, Severity

OTHER_PICTURES = (".gif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".xcf", ".dng", ".cr2", ".nef")
_ODD = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_ABOUT = re.compile(r"(read ?me|licen[cs]e|notes?|about)", re.I)


def check(folder: Path, pictures: Sequence[str], files: Sequence[str]) -> Iterator[Finding]:
    """Check names.

    Args:
        folder: of the set.
        pictures: relative names of the pictures.
        files: relative names of all files.
    """
    yield from odd_names(pictures)
    yield from colliding(pictures)
    yield from sharing_captions(pictures)
    yield from orphans(pictures, files)
    yield from not_trained(files)
    yield from no_files(folder)


def odd_names(pictures: Sequence[str]) -> Iterator[Finding]:
    """Find names that a cloud or another system cannot keep."""
    found = tuple(file for file in pictures if _ODD.search(file))
    if found:
        text = "the name holds a line break, a control character, or is no UTF-8"
        fix = "Rename it; `prepare` does"
        yield Finding(Severity.WARNING, "odd-name", found, text, fix)


def colliding(pictures: Sequence[str]) -> Iterator[Finding]:
    """Find names that are the same on Windows."""
    for group in _grouped(pictures, str.casefold):
        text = "the names differ in upper and lower case only; Windows keeps one of them"
        yield Finding(Severity.WARNING, "same-name", group, text, "Rename all but one")


def sharing_captions(pictures: Sequence[str]) -> Iterator[Finding]:
    """Find pictures of one stem."""
    for group in _grouped(pictures, lambda file: str(Path(file).with_suffix(""))):
        text = "these share one caption file, as their names differ in the ending only"
        yield Finding(Severity.WARNING, "shared-caption", group, text, "Rename all but one")


def orphans(pictures: Sequence[str], files: Sequence[str]) -> Iterator[Finding]:
    """Find captions of no picture."""
    wanted = {caption_file.beside(Path(file)).as_posix() for file in pictures}
    found = tuple(
        file
        for file in files
        if Path(file).suffix.lower() in (caption_file.SUFFIX, ".caption")
        and file not in wanted
        and not _ABOUT.match(Path(file).name)
    )
    if found:
        text = "there is no picture that this is the caption of"
        fix = f"Captions are called as the picture, with {caption_file.SUFFIX} in small letters"
        yield Finding(Severity.WARNING, "orphan-caption", found, text, fix)


def not_trained(files: Sequence[str]) -> Iterator[Finding]:
    """Find pictures of kinds that are not read."""
    found = tuple(file for file in files if Path(file).suffix.lower() in OTHER_PICTURES)
    if found:
        text = "pictures of this kind are not trained"
        fix = f"Save it as one of: {', '.join(pixels.SUFFIXES)}"
        yield Finding(Severity.WARNING, "other-kind", found, text, fix)


def no_files(folder: Path) -> Iterator[Finding]:
    """Find what is called like a picture but is a folder, a pipe, or a link to nothing."""
    entries = sorted(path for path in folder.rglob("*") if path.suffix.lower() in pixels.SUFFIXES)
    found = tuple(
        path.relative_to(folder).as_posix()
        for path in entries
        if not path.is_file() and not path.name.startswith(".")
    )
    if found:
        text = "it is called like a picture but is no file, or a link that leads nowhere"
        yield Finding(Severity.WARNING, "no-file", found, text)


def _grouped(pictures: Sequence[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for file in pictures:
        groups[key(file)].append(file)
    return [tuple(files) for files in groups.values() if len(files) > 1]
