"""A claimed prompt file, and the names that files bear while they are claimed.

::

    <stamp>-<number>-pose.txt          a prompt file
    <stamp>-<number>.png-pose.txt      one that a picture was taken with, and that picture:
    <stamp>-<number>-pose.png
    <stamp>-<number>.to-done-pose.png  the same on its way to done/ (see core.resting_place)

The prompt file's name alone says that there is a picture, so that a kill between the two renames
leaves nothing to guess. Names are made of what the journal and a log can hold. No file is touched
here.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

CLAIMED, DONE, FAILED = ".claimed", "done", "failed"
SUFFIXES = frozenset({".txt", ".md", ".toml", ".json", ".yaml", ".yml"})
_IMAGES = ("png", "jpg", "jpeg", "webp")
# Whole names, so that a picture is found by asking for it, not by listing a folder of thousands.
IMAGE_SUFFIXES = {
    f".{form}": place
    for place, suffix in enumerate(_IMAGES)
    for form in (suffix, suffix.upper(), suffix.capitalize())
}
COMPLAINT = ".error.md"
LONGEST_STEM = 200  # bytes: NAME_MAX is 255, less 33 before, suffixes, "-2" and COMPLAINT's scrap

_ANY_IMAGE = "|".join(map(re.escape, IMAGE_SUFFIXES))
_PLAIN = re.compile(rf"(\d{{20}})-(\d{{6,}})({_ANY_IMAGE})?-(.+)")
_LEAVING = re.compile(rf"(\d{{20}})-(\d{{6,}})\.to-({DONE}|{FAILED})-(.+)")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Claim:
    """A prompt file that is ours now.

    Attributes:
        name: unique path below ``.claimed``, with slashes; job ids derive from it.
        file: the name the user gave it.
        path: where it lies now.
        batch: sub-folder of the inbox it was dropped in, with slashes; empty for the inbox.
        image: the picture that lay beside it under the same stem, where it lies now.
    """

    name: str
    file: str
    path: Path
    batch: str = ""
    image: Path | None = None


@dataclass(frozen=True, slots=True)
class ClaimName:
    """What the name of a claimed prompt file says.

    Attributes:
        stamp: nanoseconds since the epoch when it was claimed.
        number: counts up within a run.
        file: the user's name, made fit.
        image: suffix of the picture taken with it; empty for none.
    """

    stamp: int
    number: int
    file: str
    image: str = ""

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a name back; ``None`` for one that is no claimed prompt file's."""
        match = _PLAIN.fullmatch(name)
        if not match or not is_prompt(match[4]):
            return None
        return cls(int(match[1]), int(match[2]), match[4], match[3] or "")

    @property
    def prompt(self) -> str:
        """The prompt file's name in ``.claimed``."""
        return f"{self._start}{self.image}-{self.file}"

    @property
    def picture(self) -> str:
        """The picture's name in ``.claimed``."""
        return f"{self._start}-{stem(self.file)}{self.image}"

    def leaving(self, folder: str, file: str) -> str:
        """Return the picture's name on its way to ``file`` in ``folder``."""
        return f"{self._start}.to-{folder}-{file}"

    @property
    def _start(self) -> str:
        return f"{self.stamp:020}-{self.number:06}"


@dataclass(frozen=True, slots=True)
class LeavingName:
    """What the name of a picture on its way says: whose it is, and where it goes."""

    stamp: int
    number: int
    folder: str
    file: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a name back; ``None`` for any other name."""
        match = _LEAVING.fullmatch(name)
        return cls(int(match[1]), int(match[2]), match[3], match[4]) if match else None


def is_picture(name: str) -> bool:
    """Whether a name is that of a claimed picture that waits beside its prompt file."""
    match = _PLAIN.fullmatch(name)
    return bool(match) and split(name)[1] in IMAGE_SUFFIXES


def is_prompt(file: str) -> bool:
    """Whether a file of this name may hold prompts; our own complaints do not."""
    return split(file)[1].lower() in SUFFIXES and not file.endswith(COMPLAINT)


def split(file: str) -> tuple[str, str]:
    """Return a file's name without its suffix, and the suffix with its dot."""
    name, dot, suffix = file.rpartition(".")
    return (name, dot + suffix) if name else (file, "")


def stem(file: str) -> str:
    """Return a file's name without its suffix."""
    return split(file)[0]


def fit(file: str) -> str:
    """Return a file's name as a claim can bear it: no odd bytes, not too long."""
    name, suffix = split(clean(file))
    if len(name) * 4 > LONGEST_STEM:
        name = name.encode()[:LONGEST_STEM].decode(errors="ignore")
    return name + suffix


def clean(name: str) -> str:
    """Return a name with ``_`` for bytes that are not UTF-8, and for control characters.

    SQLite refuses the first, and the second break a log's lines.
    """
    return _UNFIT.sub("_", name)
