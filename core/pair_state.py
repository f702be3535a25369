"""Whether the files of a pair are still those that were paired, in each folder that has them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from models import store
from models.errors import ModelError
from models.pairing import Pair, PairedFile


class Condition(StrEnum):
    """How a file of a pair is found."""

    THERE = "there"
    CHANGED = "changed"
    MISSING = "missing"
    HOSTS_OWN = "the host's own"


@dataclass(frozen=True, slots=True)
class FileState:
    """One file in one models folder.

    Attributes:
        file: as it was paired.
        path: where it lies, or should; ``None`` for the host's own.
        condition: how it is.
    """

    file: PairedFile
    path: Path | None
    condition: Condition


class Sight:
    """Looks at the files of pairs.

    Args:
        models: the models folder that the shelf is in.
        sha256_of: hashes a file, or remembers having done so; without it only sizes are looked at.
    """

    def __init__(self, models: Path, sha256_of: Callable[[Path], str] | None) -> None:
        self._models, self._sha256_of = models, sha256_of

    def states(self, pair: Pair) -> list[FileState]:
        """Return the state of every file in each folder that is to have it."""
        return [state for file in pair.files for state in self._of(file)]

    def checked(self, pair: Pair) -> None:
        """Make sure that a pair means what it meant when it was made.

        Raises:
            ModelError: a file of it changed, or is nowhere any more.
        """
        if not pair.files:
            raise _stale(pair, "it was made by an earlier Vulcan")
        for file in pair.files:
            states = list(self._of(file))
            for state in states:
                if state.condition is Condition.CHANGED:
                    raise _stale(pair, f"{state.path} changed since it was paired")
            if all(state.condition is Condition.MISSING for state in states):
                raise _stale(pair, f"{states[0].path} is gone")

    def path(self, file: PairedFile) -> Path:
        """Return where a file lies: in the first folder that has it, else where it came from.

        Raises:
            ModelError: nowhere.
        """
        there = (path for path in (*self._paths(file), Path(file.source)) if path.is_file())
        found = next(there, None)
        if found is None:
            raise ModelError(f"the pair's file {file.file} is nowhere", fix="Run pair again")
        return found

    def stamp(self, pair: Pair) -> tuple[str, ...]:
        """Return what changes when somebody writes to one of the files."""
        paths = [state for file in pair.files for state in self._paths(file)]
        return tuple(store.stamp(path) if path.is_file() else "" for path in paths)

    def _of(self, file: PairedFile) -> Iterator[FileState]:
        if file.is_hosts_own:
            yield FileState(file, None, Condition.HOSTS_OWN)
        else:
            for path in self._paths(file):
                yield FileState(file, path, self._condition(file, path))

    def _paths(self, file: PairedFile) -> list[Path]:
        """Return, for each folder, where the file lies there; where it would if it is gone."""
        paths = []
        for places in self._roots(file):
            there = (place / file.file for place in places if (place / file.file).is_file())
            paths.append(next(there, places[0] / file.file))
        return paths

    def _roots(self, file: PairedFile) -> list[list[Path]]:
        """Return the places of its kind in each folder that has it."""
        return [store.places(self._models / one, file.folder) for one in file.models]

    def _condition(self, file: PairedFile, path: Path) -> Condition:
        if not path.is_file():
            return Condition.MISSING
        same = path.stat().st_size == file.size
        if same and self._sha256_of:
            same = self._sha256_of(path) == file.sha256
        return Condition.THERE if same else Condition.CHANGED


def _stale(pair: Pair, why: str) -> ModelError:
    return ModelError(
        f"the pair {pair.name} cannot be used",
        why=why,
        fix=f"Put the file back, or run pair again: python core/director.py pair {pair.name} "
        "--again",
    )
