"""Puts together what goes to Kaggle for one training: a data set's folder and a notebook's.

::

    WORK/dataset/  a.jpg a.txt ...       pictures and captions, in one flat folder
                   run.json              the plan
                   vulcan-HASH.json      tells what is in this version of the data set
                   dataset-metadata.json
    WORK/kernel/   notebook.ipynb  kernel-metadata.json

The data set is flat because Kaggle's package uploads no folders but as archives, and plainly named
because Kaggle renames what it does not like. Pictures' bytes are not touched, so a picture keeps
its hash and what its camera wrote into it. Making a package again changes only what differs, so
that an upload that was cut goes on. Knows no network.
"""

import filecmp
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from models import store
from training import run_plan
from training.dataset import picture_set
from training.errors import TrainingError
from training.kaggle.values import Contents, Package
from training.run_folder import RunFolder
from training.run_plan import Plan

NOTEBOOK = "notebook.ipynb"
KERNEL_METADATA = "kernel-metadata.json"
DATASET_METADATA = "dataset-metadata.json"
MACHINE = "NvidiaTeslaT4"  # two T4; without it Kaggle may give a P100 (Kaggle/kaggle-cli#821)
MARKER = "vulcan-{}.json"  # in the data set: what it holds
_LONGEST_NAME = 26  # so that "vulcan-NAME-12345678-data" stays within Kaggle's 50 characters


def package(run: RunFolder, user: str, work: Path, contents: Contents) -> Package:
    """Write both folders.

    Args:
        run: has the plan.
        user: of the account it goes to.
        work: an own folder for this package.
        contents: pictures and the like.

    Raises:
        TrainingError: a picture or the plan cannot be read.
        OSError: the disk refuses.
    """
    plan = run_plan.read_plan(run.plan)
    slug = slug_of(plan, run.path.name)
    content = _dataset(plan, run, work / "dataset", contents)
    made = Package(user, slug, slug.replace("-", " "), f"{slug}-data", work, content)
    _write(made.dataset / DATASET_METADATA, _dataset_metadata(made))
    store.atomic_write(made.kernel / NOTEBOOK, contents.notebook(plan).encode())
    write_kernel_metadata(made, contents, resume=False)
    return made


def slug_of(plan: Plan, run_name: str) -> str:
    """Return a Kaggle kernel's slug: the same for the same run, another for another."""
    name = re.sub(r"[^a-z0-9]+", "-", plan.name.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    told = f"{run_name}\n{plan.model_dump_json()}".encode()
    digest = hashlib.sha256(told).hexdigest()[:8]
    return "-".join(part for part in ("vulcan", name, digest) if part)


def kernel_metadata(made: Package, contents: Contents) -> dict[str, object]:
    """Return what Kaggle is told of the notebook; always private.

    No ``docker_image``: one copied from an older run would pin it (Kaggle/kaggle-cli#1197).
    """
    own = f"{made.user}/{made.dataset_slug}"
    machine = {"machine_shape": MACHINE} if contents.gpu else {}
    return {
        "id": f"{made.user}/{made.slug}",
        "title": made.title,
        "code_file": NOTEBOOK,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": contents.gpu,
        "enable_tpu": False,
        "enable_internet": True,
        **machine,
        "dataset_sources": [own, *([contents.base_dataset] if contents.base_dataset else [])],
        "competition_sources": [],
        "kernel_sources": [],
        "model_sources": [],
        "keywords": [],
    }


def write_kernel_metadata(made: Package, contents: Contents, *, resume: bool) -> None:
    """Write the metadata; with ``resume``, the run sees its own last output.

    Raises:
        OSError: the disk refuses.
    """
    _write(made.kernel / KERNEL_METADATA, kernel_metadata(made, contents))
    if resume:
        set_resume(made, resume=True)


def set_resume(made: Package, *, resume: bool) -> None:
    """Change whether the next version gets the last one's output as an input.

    Raises:
        TrainingError: there is no package.
    """
    path = made.kernel / KERNEL_METADATA
    try:
        metadata = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError("the package cannot be read", path=path, why=str(error)) from error
    metadata["kernel_sources"] = [f"{made.user}/{made.slug}"] if resume else []
    _write(path, metadata)


def marker(content: str) -> str:
    """Return the name of the file by which a data set tells what it holds."""
    return MARKER.format(content[:32])


def _dataset_metadata(made: Package) -> dict[str, object]:
    return {
        "id": f"{made.user}/{made.dataset_slug}",
        "title": made.dataset_slug.replace("-", " "),
        "licenses": [{"name": "unknown"}],
        "isPrivate": True,
    }


def _dataset(plan: Plan, run: RunFolder, folder: Path, contents: Contents) -> str:
    """Fill the data set's folder; return the hash over names and bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {DATASET_METADATA}
    lines = []
    for name, source in _files(plan, run, contents):
        kept.add(name)
        lines.append(f"{name} {_place(source, folder / name)}")
    content = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    kept.add(marker(content))
    told = {"content": content, "files": sorted(lines)}
    _write(folder / marker(content), told)
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    return content


def _files(plan: Plan, run: RunFolder, contents: Contents) -> Iterator[tuple[str, Path | bytes]]:
    """Yield names in the data set, and files or bytes for them."""
    pictures = picture_set.read(contents.pictures, plan.trigger)
    taken: set[str] = set()
    for item in pictures.items:
        path = contents.pictures / item.file
        stem = _free(_plain(Path(item.file).with_suffix("").as_posix()), taken)
        yield f"{stem}{path.suffix.lower()}", path
        yield f"{stem}.txt", item.caption.encode()
    yield "run.json", run.plan
    for path in contents.models:
        yield path.name, path


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.replace("/", "__")).strip(".")[:80] or "picture"


def _free(stem: str, taken: set[str]) -> str:
    """Return a stem that no other picture has: captions are found by it."""
    found, number = stem, 2
    while found.lower() in taken:
        found, number = f"{stem}-{number}", number + 1
    taken.add(found.lower())
    return found


def _place(source: Path | bytes, target: Path) -> str:
    """Bring a file there, unless it is; return its hash."""
    if isinstance(source, bytes):
        if not target.is_file() or target.read_bytes() != source:
            store.atomic_write(target, source)
        return hashlib.sha256(source).hexdigest()
    if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
        temp = target.with_name(f".{target.name}.part")
        temp.unlink(missing_ok=True)
        _copy(source, temp)
        store.publish(temp, target)
    return store.sha256(target)


def _copy(source: Path, temp: Path) -> None:
    """Copy a file; a model is linked where that can be, as it is large and is not written to."""
    if source.suffix in store.MODEL_SUFFIXES:
        try:
            os.link(source, temp)
        except OSError:  # another disk
            shutil.copy2(source, temp)
    else:
        shutil.copy2(source, temp)


def _write(path: Path, table: Mapping[str, object]) -> None:
    content = (json.dumps(table, indent=1) + "\n").encode()
    if not path.is_file() or path.read_bytes() != content:  # a new time would be a new upload
        store.atomic_write(path, content)
