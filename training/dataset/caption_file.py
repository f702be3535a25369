"""The ``.txt`` beside a picture: found, read whatever its encoding, and told how it was.

UTF-8 is what every trainer expects. UTF-16 is known by its byte order mark; what is neither is
read as Windows-1252, in which every byte means something. Only reads.
"""

from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError

SUFFIX = ".txt"
MOST_BYTES = 1 << 16
"""A caption is some hundred bytes; a file above this is something else, and is cut off here."""

_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """What was beside a picture.

    Attributes:
        text: of the caption, white space collapsed; empty where there was none.
        exists: there is such a file.
        encoding: how it was read: utf-8, utf-8-sig, utf-16 or cp1252.
        cut: it was longer than any caption.
    """

    text: str
    exists: bool = True
    encoding: str = "utf-8"
    cut: bool = False


def beside(picture: Path) -> Path:
    """Return where a picture's caption lies."""
    return picture.with_suffix(SUFFIX)


def read(picture: Path) -> CaptionFile:
    """Read the caption of a picture.

    Raises:
        TrainingError: there is one, but it cannot be read.
    """
    path = beside(picture)
    try:
        if not path.is_file():  # nor is a pipe or a folder of that name opened
            return CaptionFile("", exists=False)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise TrainingError("cannot be read", path=path, why=error.strerror or "") from error
    text, encoding = decode(content[:MOST_BYTES])
    return CaptionFile(text, encoding=encoding, cut=len(content) > MOST_BYTES)


def decode(content: bytes) -> tuple[str, str]:
    """Return a caption's text, white space collapsed, and its encoding."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return _tidy(content.decode(encoding, errors="replace")), encoding
    try:
        return _tidy(content.decode()), "utf-8"
    except UnicodeDecodeError as error:
        # Not damaged but cut off: a caption of MOST_BYTES may end within a character.
        if error.start >= MOST_BYTES - 3:
            return _tidy(content.decode(errors="ignore")), "utf-8"
        return _tidy(content.decode("cp1252", errors="replace")), "cp1252"


def _tidy(text: str) -> str:
    """Collapse white space and leave out what no reader sees (NUL and other controls)."""
    seen = "".join(sign if sign.isprintable() or sign.isspace() else "" for sign in text)
    return " ".join(seen.split())
