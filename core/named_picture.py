"""Finding the picture that a prompt file names: ``image: pose.png``.

A name leads to the folders that belong to its prompt file and to no others; a whole path is the
user's own word. Links are followed: they are the user's doing too. Nothing is moved or opened.
"""

from collections.abc import Iterator
from pathlib import Path

from core.claim import DONE, FAILED, Claim, ClaimName, stem


def find(inbox: Path, claim: Claim, name: str) -> Path | None:
    """Return where a picture lies; ``None`` when it is nowhere, or out of bounds.

    Args:
        inbox: the drop folder.
        claim: the prompt file that names it.
        name: a path below its batch's folder, or a whole path (``~`` is the home folder).
    """
    whole = _expanded(name)
    if whole.is_absolute():
        return whole if _is_file(whole) else None
    if not _is_below(name):
        return None
    return next(filter(_is_file, _places(inbox, claim, name)), None)


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)  # nobody of that name has a home


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # too long for a name, or in a folder that we may not enter


def _is_below(name: str) -> bool:
    """Whether a relative name stays in its folder, by its words; hidden folders are ours."""
    parts = Path(name).parts
    return bool(parts) and not any(part.startswith(".") for part in parts)


def _places(inbox: Path, claim: Claim, name: str) -> Iterator[Path]:
    """Yield where it may lie: it may have been claimed beside us, or finished before."""
    if claim.image and name == _its_name(claim):
        yield claim.image
    for top in (inbox, inbox / DONE, inbox / FAILED):
        yield top / claim.batch / name
    if claim.batch:
        yield inbox / name


def _its_name(claim: Claim) -> str:
    """Return the name that the picture taken with a claim had in the inbox."""
    parsed = ClaimName.parse(claim.path.name)
    return stem(claim.file) + parsed.image if parsed else ""
