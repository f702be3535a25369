"""Finds a run's model files and pictures below ``/kaggle/input``, by their bytes.

How deep Kaggle mounts a data set has changed over the years, and who uploads a file may rename it:
so names and sizes only choose what is read, and the hash decides. Only reads.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from models import store
from training.kaggle.model_file import Files, ModelFile, Role
from training.kaggle.refusal import Code, RefusalError
from training.run_folder import RunFolder


def candidates(place: Path, file: ModelFile) -> list[Path]:
    """Return the files below a folder that may be a model file, those of its name first."""
    found = [
        path
        for path in _walked(place)
        if path.suffix in store.MODEL_SUFFIXES and _may_be(path, file)
    ]
    return sorted(found, key=lambda path: (path.name != file.name, path.as_posix()))


def to_fetch(place: Path, files: Files) -> tuple[ModelFile, ...]:
    """Return the files that would have to be downloaded, by names and sizes alone."""
    return tuple(
        choices[0]
        for choices in (files[role] for role in Role)
        if not any(candidates(place, file) for file in choices)
    )


def find(place: Path, choices: tuple[ModelFile, ...], hashes: Path) -> Path | None:
    """Return the first file below a folder that is one of those that will do.

    Args:
        place: where to look.
        choices: the preferred one first.
        hashes: where hashes are remembered, so that the trainer need not read 7 GB again.
    """
    for file in choices:
        for path in candidates(place, file):
            if not file.sha256 or store.cached_sha256(path, hashes) == file.sha256:
                return path
    return None


def misfits(place: Path, choices: tuple[ModelFile, ...]) -> tuple[Path, ...]:
    """Return files that have the name of one that will do, to be told of where none does."""
    names = {file.name for file in choices}
    return tuple(path for path in _walked(place) if path.name in names)


def pictures(place: Path, named: str) -> Path:
    """Return the folder of pictures.

    Args:
        place: where data sets are mounted.
        named: the folder's path below it; empty: the only one that there is.

    Raises:
        RefusalError: there is none, or there are several.
    """
    found = [place / named] if named else _picture_folders(place)
    if len(found) == 1 and found[0].is_dir():
        return found[0]
    if len(found) > 1:
        names = ", ".join(path.relative_to(place).as_posix() for path in found)
        raise RefusalError(
            Code.NO_PICTURES,
            "several folders hold pictures",
            why=names,
            fix="Name one of them in PICTURES, in the first cell, and run all again",
        )
    raise RefusalError(
        Code.NO_PICTURES,
        "no data set with pictures is attached",
        path=place / named,
        fix="Attach one (Add Input > Datasets; each picture with its caption beside it as .txt) "
        "and run all again",
    )


def outputs(place: Path) -> list[RunFolder]:
    """Return the run folders of earlier kernels below a folder, whatever state they are in."""
    found = (RunFolder(path.parent) for path in _walked(place) if path.name == "run.json")
    return [folder for folder in found if folder.progress.is_file()]


def _picture_folders(place: Path) -> list[Path]:
    """Return the outermost folders with pictures, without what earlier runs drew."""
    from training.dataset import pixels  # Pillow: only once packages are installed

    drawn = {folder.path for folder in outputs(place)}
    holding = {path.parent for path in _walked(place) if path.suffix.lower() in pixels.SUFFIXES}
    holding = {path for path in holding if not drawn & {path, *path.parents}}
    return sorted(path for path in holding if not holding & set(path.parents))


def _may_be(path: Path, file: ModelFile) -> bool:
    if file.size:
        return path.stat().st_size == file.size
    return path.name == file.name


def _walked(place: Path) -> Iterator[Path]:
    """Yield all files; mounts may be links, so links are followed, each folder once."""
    seen: set[Path] = set()
    for where, folders, names in os.walk(place, followlinks=True):
        real = Path(where).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where) / name for name in sorted(names) if not name.startswith("."))
