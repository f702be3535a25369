"""What a state folder knows of its publishing: whose turn it is, its id, and where it published.

Two programs that publish at once would take each other's half-made copies for leftovers, and one
could remove what the other is about to write into a manifest; so they take turns.
"""

import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models import store
from models.safe_copy import Report

LOCK, OWNER, FOLDERS = "publishing.lock", "publisher", "published.json"


@contextmanager
def held(state: Path, report: Report) -> Iterator[str]:
    """Wait until nobody else publishes for this state folder; yield its id.

    Raises:
        OSError: the state folder cannot be written.
    """
    state.mkdir(parents=True, exist_ok=True)
    guard = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another program that publishes", 0.0)
            fcntl.flock(guard, fcntl.LOCK_EX)
        yield _owner(state / OWNER)
    finally:
        os.close(guard)


def _owner(path: Path) -> str:
    """Return the folder's id, made with its first use; paths mean nothing on other machines."""
    known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not known.isalnum():
        known = uuid.uuid4().hex[:12]
        store.atomic_write(path, f"{known}\n".encode())
    return known


def remember(state: Path, models: Iterable[Path]) -> None:
    """Note models folders before something is published there."""
    known = folders(state)
    every = sorted({*known, *models})
    if every != known:
        store.atomic_write(state / FOLDERS, json.dumps([*map(str, every)], indent=1).encode())


def folders(state: Path) -> list[Path]:
    """Return every models folder that was ever published to, sorted."""
    try:
        listed = json.loads((state / FOLDERS).read_bytes())
    except (OSError, ValueError):
        return []
    return [Path(one) for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
