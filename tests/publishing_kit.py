"""Files to publish, and what came of it."""

import hashlib
from pathlib import Path

from models.ledger import FILE
from models.publishing import Source
from models.store import Folder

LORA = Folder.LORAS


def silent(_what: str, _share: float) -> None:
    """Report to nobody."""


def source(path: Path, content: bytes, folder: Folder = LORA, name: str = "") -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Source(folder, path, name or path.name, digest, len(content))


def listed(models: Path) -> list[str]:
    """All that is there, hidden files too, but the ledger."""
    found = (path for path in models.rglob("*") if path.is_file() and path.name != FILE)
    return sorted(path.relative_to(models).as_posix() for path in found)
