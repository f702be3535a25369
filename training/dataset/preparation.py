"""Writes a cleaned copy of a data set: upright sRGB PNGs without metadata, captions beside them.

The originals are never touched, and nothing that exists is overwritten: the copy is made under
another name and gets its own when it is whole. Crops are proposals and lie in a folder of their
own; what is trained is not cropped.
"""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from models import store
from training.dataset import picture_set, pixels, set_checks
from training.dataset.check import Report
from training.errors import TrainingError

LONGEST_NAME = 100  # characters: more than 255 bytes no file system takes
_UNFIT = re.compile('[\x00-\x1f\x7f\ud800-\udfff<>:"|?*\\\\]')  # the last of them on Windows
_COMPRESSION = 4  # of 9: twice as quick as Pillow's 6, a few percent larger


class Captioner(Protocol):
    """Says what is on a picture."""

    def caption(self, image: Image.Image) -> str:
        """Return a description; empty if there is nothing to say."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was written.

    Attributes:
        target: the folder.
        written: for each original the name of its copy.
        captioned: originals whose captions a captioner wrote.
        left_out: originals that have no copy, with the reason.
        crops: how many proposals were written.
    """

    target: Path
    written: Mapping[str, str]
    captioned: tuple[str, ...]
    left_out: Mapping[str, str]
    crops: int


def prepare(
    report: Report,
    target: Path,
    *,
    captioner: Captioner | None = None,
    again: bool = False,
    drop_near: bool = False,
    crops: Path | None = None,
    workers: int = 0,
) -> Prepared:
    """Write the copy.

    Args:
        report: of the folder.
        target: folder to make; must not exist, or be empty.
        captioner: writes captions of pictures that have none.
        again: it also writes those of pictures that have one.
        drop_near: leave out all but the sharpest of pictures that look nearly the same.
        crops: folder to make for the proposed crops.
        workers: pictures at once; 0: one a core.

    Raises:
        TrainingError: a folder cannot be used, or nothing would be left.
        OSError: the disk refuses.
    """
    for folder in filter(None, (target, crops)):
        refuse(folder, report.folder)
    left_out = _left_out(report, drop_near)
    files = [item.file for item in report.pictures.items if item.file not in left_out]
    if not files:
        raise TrainingError("no picture is left", path=report.folder, fix="See `dataset validate`")
    names = safe_names(files)
    written = _captions(report, files, captioner, again)
    with _made(target) as folder:
        _copy(report.folder, folder, names, workers)
        for file, name in names.items():
            store.atomic_write((folder / name).with_suffix(".txt"), f"{written[file]}\n".encode())
    proposals = [file for file in report.crops if file in names]
    if crops and proposals:
        with _made(crops) as folder:
            for file in proposals:
                _crop(report, file, folder / names[file])
    own = {caption.file: caption.text for caption in report.captions}
    captioned = tuple(file for file in files if written[file] != own[file])
    return Prepared(target, names, captioned, left_out, len(proposals) if crops else 0)


def refuse(target: Path, source: Path) -> None:
    """Refuse a folder to write into.

    Raises:
        TrainingError: it is, holds or lies in the source, or holds something.
    """
    real, original = target.resolve(), source.resolve()
    if real.is_relative_to(original) or original.is_relative_to(real):
        raise TrainingError(
            "the copy cannot be written there",
            path=target,
            why=f"it and {source} must not lie in each other",
            fix="Name another folder",
        )
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise TrainingError(
            "the copy cannot be written there",
            path=target,
            why="there is something already",
            fix="Name a folder that does not exist",
        )


def safe_names(files: Sequence[str]) -> dict[str, str]:
    """Return for each picture a name that every system keeps apart from the others, ending .png."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for file in files:
        parts = [_UNFIT.sub("_", part)[:LONGEST_NAME].strip(" .") or "_" for part in _stem(file)]
        stem, number = "/".join(parts), 2
        while stem.casefold() in taken:
            stem = f"{'/'.join(parts)}-{number}"
            number += 1
        taken.add(stem.casefold())
        names[file] = f"{stem}.png"
    return names


def _stem(file: str) -> tuple[str, ...]:
    return Path(file).with_suffix("").parts


def _left_out(report: Report, drop_near: bool) -> dict[str, str]:
    broken = {
        file: one.text for one in report.errors if one.code != "no-pictures" for file in one.files
    }
    described = {caption.file for caption in report.captions if caption.own.text}
    for group in set_checks.duplicates(report.measured):
        kept = next((file for file in group if file not in broken and file in described), group[0])
        broken |= {file: f"the same as {kept}" for file in group if file != kept}
    for alike in set_checks.alike(report.measured) if drop_near else ():
        fit = [one for one in alike if one.file not in broken]
        best = max(fit, key=lambda one: one.sharpness, default=None)
        broken |= {
            one.file: f"nearly the same as {best.file}" for one in fit if best and one != best
        }
    return broken


def _captions(
    report: Report, files: Sequence[str], captioner: Captioner | None, again: bool
) -> dict[str, str]:
    texts = {caption.file: caption.text for caption in report.captions}
    has = {caption.file: bool(caption.own.text) for caption in report.captions}
    for file in files if captioner else ():
        if again or not has[file]:
            image = pixels.read(report.folder / file)
            found = captioner.caption(image) if captioner else ""
            texts[file] = picture_set.with_trigger(found, report.trigger)
    return texts


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """Make a folder under another name, and give it its own if all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = Path(tempfile.mkdtemp(prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent))
    try:
        temp.chmod(0o755)  # mkdtemp makes it private
        yield temp
        temp.replace(target)  # takes the place of an empty folder, of nothing else
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


def _copy(source: Path, target: Path, names: Mapping[str, str], workers: int) -> None:
    def copy(file: str) -> None:
        path = source / file
        with pixels.in_turn(path):
            _save(pixels.read(path), target / names[file])

    _each(copy, list(names), workers)


def _each(work: Callable[[str], None], files: Sequence[str], workers: int) -> None:
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        for _ in pool.map(work, files):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _crop(report: Report, file: str, target: Path) -> None:
    box = report.crops[file]
    image = pixels.read(report.folder / file)
    right, below = box.left + box.width, box.top + box.height
    _save(image.crop((box.left, box.top, right, below)), target)


def _save(image: Image.Image, target: Path) -> None:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=_COMPRESSION)
    store.atomic_write(target, content.getvalue())
