"""Where manifests of named pairs lie: ``pairs/NAME.json`` in the models folder.

It finds, reads and writes them, each whole or not at all. What is in a pair is
:mod:`models.pairing`'s, and whether its files are still there nobody's here.
"""

import difflib
import glob
from pathlib import Path

from models import pairing, store
from models.errors import ModelError
from models.pairing import Pair

FOLDER = "pairs"  # below the models folder; no kind of model of ComfyUI's has this name
_SUFFIX = ".json"


class UnknownPairError(ModelError):
    """There is no pair of this name."""


class PairShelf:
    """The named pairs of one models folder.

    Args:
        models: the models folder; the shelf is made with the first pair.
    """

    def __init__(self, models: Path) -> None:
        self.folder = models / FOLDER

    def names(self) -> list[str]:
        """Names of all pairs, sorted."""
        return sorted(
            path.name.removesuffix(_SUFFIX)
            for path in self.folder.glob(f"*{_SUFFIX}")
            if path.is_file() and not path.name.startswith(".")
        )

    def path(self, name: str) -> Path:
        """Where a pair's manifest lies, or would.

        Raises:
            ModelError: it can be no pair's name.
        """
        return self.folder / f"{pairing.check_name(name)}{_SUFFIX}"

    def load(self, name: str) -> Pair:
        """Read a pair.

        Raises:
            UnknownPairError: there is none of this name; tells the nearest.
            ModelError: its manifest cannot be used.
        """
        path = self.folder / f"{name}{_SUFFIX}"
        if name not in self.names():
            raise self._unknown(name)
        pair = load(path)
        if pair.name != name:
            raise ModelError(
                f"it is the manifest of {pair.name!r}", path=path, fix="Make the pair again"
            )
        return pair

    def save(self, pair: Pair) -> None:
        """Write a pair atomically, in place of an earlier one of its name."""
        path = self.path(pair.name)
        for left in self.folder.glob(f".{glob.escape(path.name)}.*.part"):
            left.unlink(missing_ok=True)  # of a kill: one program at a time writes here
        store.atomic_write(path, pairing.to_json(pair).encode())

    def remove(self, name: str) -> None:
        """Forget a pair; its files stay.

        Raises:
            UnknownPairError: there is none of this name.
        """
        if name not in self.names():
            raise self._unknown(name)
        self.path(name).unlink()

    def _unknown(self, name: str) -> UnknownPairError:
        known = self.names()
        near = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
        return UnknownPairError(
            f"there is no pair {name!r}",
            why=f"did you mean {near[0]}?" if near else listed and f"there are {listed}",
            fix="" if known else "Make it: python core/director.py pair NAME --lora FILE",
        )


def load(path: Path) -> Pair:
    """Read a manifest.

    Raises:
        ModelError: it cannot be read, or is none.
    """
    try:
        return pairing.from_json(path.read_bytes())
    except OSError as error:
        raise ModelError("it cannot be read", path=path, why=error.strerror or "") from error
    except ModelError as error:
        raise error.about(path) from error


def manifests(folder: Path) -> list[Pair]:
    """Every pair whose manifest lies in a folder.

    Raises:
        ModelError: one of them cannot be read, so that nobody can say which files it names.
    """
    return [load(path) for path in sorted(folder.glob(f"[!.]*{_SUFFIX}"))]
