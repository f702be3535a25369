"""Results of nodes that need not run again.

As ComfyUI does it, the cache holds what the last graph used and nothing older: entries that the
next graph does not ask for are dropped before it runs. A result whose files are gone is gone too
(ComfyUI would report the old file name, which is then a 404).
"""

from collections.abc import Iterable

from host.node_types import Result


class NodeCache:
    """Results by cache key (:func:`host.graph.cache_keys`). Used by the worker thread only."""

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}

    def retain(self, keys: Iterable[str]) -> None:
        """Drop every result that is not under one of these keys."""
        wanted = set(keys)
        self._results = {key: kept for key, kept in self._results.items() if key in wanted}

    def get(self, key: str) -> Result | None:
        """Return the result under this key, if its files still exist."""
        result = self._results.get(key)
        if result is None or not all(path.exists() for path in result.files):
            return None
        return result

    def put(self, key: str, result: Result) -> None:
        """Keep a result."""
        self._results[key] = result

    def clear(self) -> None:
        """Drop everything."""
        self._results.clear()
