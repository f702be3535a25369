"""A picture that is to be made again: its file, and the record found in or beside it.

Takes anything a user may name, and says in one sentence what is missing. Where the record comes
from a stranger, nothing of it is trusted here: :mod:`core.record` checks it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from core import a1111, png_text, record
from core.gallery import SIDECAR
from core.inscription import GRAPH
from core.png_text import PngError
from core.record import Record, RecordError

MAX_BYTES = 1 << 30  # of a picture or video
MAX_SIDECAR = 16 << 20


@dataclass(frozen=True, slots=True)
class Original:
    """A picture and what it was made with.

    Attributes:
        path: its file.
        content: the file's bytes.
        record: as it was read.
    """

    path: Path
    content: bytes
    record: Record


def load(path: Path) -> Original:
    """Read a picture and its record.

    Raises:
        RecordError: no such file, no record, or one that cannot be used; the message names the
            file and says what would help.
    """
    try:
        content = _read(path, MAX_BYTES)
        return Original(path, content, _record(_texts(path, content)))
    except (RecordError, PngError) as error:
        raise RecordError(f"{path}: {error}") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def _record(texts: dict[str, str]) -> Record:
    if record.KEYWORD not in texts:
        raise RecordError(_lacking(texts))
    return record.read(texts[record.KEYWORD])


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise RecordError("there is no such file")
    size = path.stat().st_size
    if size > limit:
        raise RecordError(f"has {size / 1e6:,.0f} MB; that is no picture of Vulcan's")
    return path.read_bytes()


def _texts(path: Path, content: bytes) -> dict[str, str]:
    if content.startswith(png_text.SIGNATURE):
        return png_text.texts(content)
    beside = path.with_suffix(SIDECAR)
    if beside == path or not beside.is_file():
        raise RecordError(
            f"is no PNG, and there is no {beside.name} beside it with the record of how it was made"
        )
    return _of_sidecar(beside)


def _of_sidecar(path: Path) -> dict[str, str]:
    try:
        entry = json.loads(_read(path, MAX_SIDECAR))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path.name} beside it is not JSON ({error})") from error
    if not isinstance(entry, dict):
        raise RecordError(f"{path.name} beside it is no table")
    return {key: text if isinstance(text, str) else json.dumps(text) for key, text in entry.items()}


def _lacking(texts: dict[str, str]) -> str:
    if GRAPH in texts or "workflow" in texts:
        return (
            "holds a ComfyUI graph but no record of Vulcan's, so model hashes and settings are "
            "unknown. Drag it into ComfyUI to get the graph; exported there in API format and put "
            "into configs/workflows/, prompt files can name it as their workflow"
        )
    if a1111.KEYWORD in texts:
        return (
            "holds A1111 parameters but no record of Vulcan's. Write its prompt, seed, steps and "
            f"size into a prompt file; it says: {_first_words(texts[a1111.KEYWORD])}"
        )
    return (
        "holds no record of how it was made; it is not Vulcan's, or a program that edited or "
        "shrank it took the record out"
    )


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}..."
