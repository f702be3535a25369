"""Names that nobody has: ``pose``, ``pose-2``, ``pose-3`` ...

It looks into one folder; that nobody else takes the name meanwhile is the caller's to see to.
"""

import os
from collections.abc import Iterable
from pathlib import Path


def free_stem(folder: Path, stem: str, suffixes: Iterable[str]) -> str:
    """Return ``stem``, or one with a number, that is free in ``folder`` under every suffix.

    A name dropped ten thousand times takes some thirty looks, not ten thousand: the numbers are
    searched by doubling and halving, which finds a free one (and the first, if none was removed).
    """
    endings = list(suffixes)

    def is_taken(number: int) -> bool:
        name = _numbered(stem, number)
        return any(os.path.lexists(f"{folder}/{name}{suffix}") for suffix in endings)

    if not is_taken(1):
        return stem
    taken, free = 1, 2
    while is_taken(free):
        taken, free = free, free * 2
    while free - taken > 1:
        middle = (taken + free) // 2
        taken, free = (middle, free) if is_taken(middle) else (taken, middle)
    return _numbered(stem, free)


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
