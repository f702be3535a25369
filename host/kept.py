"""The most recently used of something that is expensive to load. Knows nothing of what it is."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The most recently used models of one kind."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Key, Value] = {}

    def get(self, key: Key, load: Callable[[], Value]) -> Value:
        """Return the model under this key, loading it if it is not kept."""
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)  # newest last
            return self._kept[key]
        while len(self._kept) >= self._limit:  # before loading: there may be no room for both
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = load()
        return self._kept[key]

    def newest(self) -> tuple[Key, Value] | None:
        """Return the model that was used last, with its key."""
        return next(reversed(self._kept.items()), None)

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()
