"""The host's files on disk, as a mapping: what outlives a kill -9, as ComfyUI's output does."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path

Key = tuple[str, str]  # sub-folder with slashes, file name


class Shelf(MutableMapping[Key, bytes]):
    """Files below one folder.

    Args:
        root: made when the first file comes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getitem__(self, key: Key) -> bytes:
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise KeyError(key) from error

    def __setitem__(self, key: Key, content: bytes) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def __delitem__(self, key: Key) -> None:
        self._path(key).unlink()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and self._path(key).is_file()

    def __iter__(self) -> Iterator[Key]:
        for path in self._root.rglob("*"):
            if path.is_file():
                yield self._key(path)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: Key) -> Path:
        return self._root / key[0] / key[1]

    def _key(self, path: Path) -> Key:
        folder = path.parent.relative_to(self._root).as_posix()
        return ("" if folder == "." else folder), path.name
