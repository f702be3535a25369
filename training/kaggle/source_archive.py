"""Vulcan's own source as one small zip: what a trainer in a cloud imports, and nothing else.

Found by following imports from the trainer's entry points, so it cannot go stale; no weights, no
pictures, no settings. The same source gives the same bytes.
"""

import ast
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.progress import Stage

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = (
    "training.__main__",
    *(f"training.stages.{stage}" for stage in Stage),
    "training.kaggle.kernel_run",
)
BESIDE = ("requirements.txt", "requirements-dev.txt", "LICENSE")
"""Files that are no modules: where versions are pinned, and the licence of it all."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """A zip.

    Attributes:
        content: its bytes.
        sha256: of them.
        files: names of what is in it, sorted.
    """

    content: bytes
    sha256: str
    files: tuple[str, ...]


def make(root: Path = ROOT) -> SourceArchive:
    """Pack the source.

    Raises:
        OSError: a file cannot be read.
    """
    names = tuple(sorted({*modules(root), *BESIDE}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (root / name).read_bytes())
    content = buffer.getvalue()
    return SourceArchive(content, hashlib.sha256(content).hexdigest(), names)


def modules(root: Path = ROOT) -> set[str]:
    """Return the files of all modules that the trainer imports, relative to the root."""
    found: set[Path] = set()
    waiting = list(ENTRIES)
    while waiting:
        for path in _files(root, waiting.pop()):
            if path not in found:
                found.add(path)
                waiting += imports(path)
    return {path.relative_to(root).as_posix() for path in found}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(root: Path, name: str) -> Iterator[Path]:
    """Yield a module's file and those of the packages around it; none for what is not ours."""
    place = root.joinpath(*name.split("."))
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    for package in (place, *place.parents):
        if package == root:
            return
        if (package / "__init__.py").is_file():
            yield package / "__init__.py"
