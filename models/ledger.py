"""What Vulcan itself put into a models folder, and for whom: ``.vulcan-published.json`` in it.

Only what stands here may ever be removed again, and only once every owner has let go of it: two
Vulcans may publish to one ComfyUI. A file is entered before it gets its name, so that a kill
between the two leaves an entry without a file, never a file that nobody owns.

It knows names and owners; it copies and removes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models import safe_copy, store
from models.errors import ModelError

FILE = ".vulcan-published.json"
_FORM = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A published file.

    Attributes:
        sha256: of its content.
        size: bytes.
        owners: ids of the state folders that use it.
    """

    sha256: str
    size: int
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    version: int
    files: dict[str, Entry]


_CONTENT = TypeAdapter(_Content)


class Ledger:
    """One models folder's ledger.

    Args:
        models: the folder.
        owner: who writes; what a kill leaves of that is known by it.

    Raises:
        ModelError: there is one that cannot be read.
    """

    def __init__(self, models: Path, owner: str) -> None:
        self._path, self._owner = models / FILE, owner
        self._files = _read(self._path)

    @property
    def files(self) -> Mapping[str, Entry]:
        """Entries by path below the models folder, with slashes."""
        return self._files

    def enter(self, file: str, sha256: str, size: int) -> None:
        """Note that a file is, or is about to be, published for the owner.

        Raises:
            OSError: it cannot be written.
        """
        known = self._files.get(file)
        before = known.owners if known and known.sha256 == sha256 else ()
        entry = Entry(sha256, size, tuple(dict.fromkeys([*before, self._owner])))
        if entry != known:
            self._files[file] = entry
            self._write()

    def is_claimed(self, file: str) -> bool:
        """Tell whether a file was published for the owner, among others."""
        return self._owner in self._files[file].owners

    def let_go(self, file: str) -> bool:
        """Tell whether nobody else owns a file; if others do, only the claim is given up.

        The entry itself stays until :meth:`forget`.
        """
        entry = self._files[file]
        others = tuple(other for other in entry.owners if other != self._owner)
        if others and others != entry.owners:
            self._files[file] = replace(entry, owners=others)
            self._write()
        return not others

    def forget(self, file: str) -> None:
        """Strike a file that is gone."""
        del self._files[file]
        self._write()

    def _write(self) -> None:
        content = _CONTENT.dump_json(_Content(_FORM, self._files), indent=1)
        temp = self._path.with_name(f"{FILE}.{self._owner}.part")
        try:
            temp.write_bytes(content + b"\n")
            safe_copy.patiently(lambda: store.publish(temp, self._path))
        finally:
            temp.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Entry]:
    try:
        content = _CONTENT.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise ModelError(
            "the list of what Vulcan published here cannot be read",
            path=path,
            why=error.errors()[0]["msg"],
            fix="Move it away; the files that it named then stay until you delete them",
        ) from error
    if content.version > _FORM:
        raise ModelError("it was written by a newer Vulcan", path=path, fix="Update this one")
    return content.files
