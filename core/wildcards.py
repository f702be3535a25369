"""The wildcard files: what ``__name__`` may stand for. Read when the first prompt asks for one.

A ``.txt`` holds a value a line, a ``.yaml`` or ``.json`` a tree of lists; names are paths without
suffix, and ``*`` matches. Reading them is the dynamicprompts library's; it is loaded only then,
since most directors never need it. Knows nothing of prompts.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.prompt_syntax import ProgramError

if TYPE_CHECKING:
    from dynamicprompts.wildcards import WildcardManager

MOST_VALUES = 200_000  # of one wildcard


class Wildcards:
    """The values of one folder's wildcards; edits are seen.

    Args:
        folder: need not be there until a prompt asks for a wildcard.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manager: WildcardManager | None = None
        self._stamp: tuple[tuple[str, int, int], ...] = ()

    def refresh(self) -> None:
        """Forget what was read if a file has changed since; called once per prompt file."""
        if self._manager is not None and _stamp(self._folder) != self._stamp:
            self._manager = None

    def values(self, name: str) -> Sequence[tuple[str, float]]:
        """Return what a wildcard may stand for, each with its weight, in alphabetical order.

        Raises:
            ProgramError: no such wildcard; names the nearest and the folder.
        """
        manager = self._read()
        items = manager.get_values(name).items
        found = [(str(item), float(getattr(item, "weight", 1.0))) for item in items]
        if not found:
            raise self._missing(name, sorted(manager.get_collection_names()))
        if len(found) > MOST_VALUES:
            raise ProgramError(f"__{name}__ has {len(found)} values, {MOST_VALUES} at most")
        return found

    def _read(self) -> "WildcardManager":
        if self._manager is None:
            from dynamicprompts.wildcards import WildcardManager

            if not self._folder.is_dir():
                raise ProgramError(
                    f"uses a wildcard, and the folder for their files, {self._folder}, is not "
                    "there; make it, or set folders.wildcards"
                )
            self._stamp = _stamp(self._folder)
            self._manager = WildcardManager(self._folder)
        return self._manager

    def _missing(self, name: str, known: Sequence[str]) -> ProgramError:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        if not known:
            hint = "; there are no wildcard files at all"
        return ProgramError(
            f"there is no wildcard {name[:100]} in {self._folder}{hint} (write \\_\\_ for "
            "underscores that mean themselves, or expand: off)"
        )


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when any file below a folder does."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.exists():
                state = path.stat()
                found.append((str(path), state.st_mtime_ns, state.st_size))
    return tuple(sorted(found))
