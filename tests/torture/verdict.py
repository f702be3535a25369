"""What came of a torture, judged from outside: pictures, journal, folders. Nothing of the
director's own code is asked; pictures are read with Pillow, the journal with sqlite3.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.fault_host.pictures import pixels
from tests.torture.feed import Wanted
from tests.torture.grounds import Site

Shows = Callable[[bytes, str, int], bool]


def shows_hash(raw: bytes, prompt: str, seed: int) -> bool:
    """Tell whether a fault host's picture is of this prompt and seed."""
    return raw == pixels(prompt, seed)


def shows_colour(raw: bytes, _prompt: str, seed: int) -> bool:
    """Tell whether ComfyUI's EmptyImage has this seed for its colour."""
    return raw[:3] == seed.to_bytes(3, "big") and len(set(zip(*[iter(raw)] * 3, strict=True))) == 1


@dataclass
class Verdict:
    """What is wrong; empty everywhere when all is well."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    scraps: list[str] = field(default_factory=list)

    def good(self) -> bool:
        """Tell whether nothing is wrong."""
        parts = (self.lost, self.twice, self.wrong, self.journal, self.files, self.scraps)
        return not any(parts)


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    prompt: str
    seed: int
    raw: bytes


def judge(site: Site, wanted: list[Wanted], shows: Shows) -> Verdict:
    """Compare what lies there with what was asked for."""
    verdict = Verdict()
    pictures = list(_read(site.pictures(), verdict))
    _pairing(pictures, wanted, shows, verdict)
    _counts(pictures, wanted, verdict)
    _journal(site.state / "journal.sqlite", len(wanted), verdict)
    _folders(site, {entry.file for entry in wanted}, verdict)
    return verdict


def _read(paths: Iterable[Path], verdict: Verdict) -> Iterable[_Picture]:
    for path in paths:
        try:
            with Image.open(path) as image:
                request = json.loads(str(image.info["vulcan"]))["request"]
                raw = image.convert("RGB").tobytes()
        except (OSError, KeyError, ValueError, SyntaxError) as error:
            verdict.wrong.append(f"{path.name} cannot be read: {error!r}")
            continue
        yield _Picture(path, str(request["prompt"]), int(request["seed"]), raw)


def _pairing(
    pictures: list[_Picture], wanted: list[Wanted], shows: Shows, verdict: Verdict
) -> None:
    stems = {entry.prompt: Path(entry.file).stem for entry in wanted}
    for picture in pictures:
        if not shows(picture.raw, picture.prompt, picture.seed):
            verdict.wrong.append(f"{picture.path.name} does not show what its record says")
        if stems.get(picture.prompt, "?") not in picture.path.name:
            verdict.wrong.append(f"{picture.path.name} is named after another prompt file")


def _counts(pictures: list[_Picture], wanted: list[Wanted], verdict: Verdict) -> None:
    drawn = {entry.prompt for entry in wanted if entry.seed is None}
    asked = Counter((entry.prompt, entry.seed) for entry in wanted)
    made = Counter((p.prompt, None if p.prompt in drawn else p.seed) for p in pictures)
    verdict.lost += [f"{key} ({n} of {asked[key]})" for key, n in (asked - made).items()]
    verdict.twice += [f"{key} ({n} too many)" for key, n in (made - asked).items()]


def _journal(path: Path, count: int, verdict: Verdict) -> None:
    if not path.exists():
        verdict.journal.append(f"{path} is not there")
        return
    db = sqlite3.connect(path)
    try:
        (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        states = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
    finally:
        db.close()
    if sound != "ok":
        verdict.journal.append(str(sound))
    if states != {"done": count}:
        verdict.journal.append(f"{count} jobs should be done, the journal has {states}")


def _folders(site: Site, wanted: set[str], verdict: Verdict) -> None:
    done = {path.name for path in _listed(site.inbox / "done") if path.is_file()}
    verdict.files += [f"{name} is not in done/" for name in sorted(wanted - done)]
    verdict.files += [f"{name} in done/ is nobody's" for name in sorted(done - wanted)]
    verdict.files += [f"failed/{path.name}" for path in _listed(site.inbox / "failed")]
    scraps = [p.name for p in _listed(site.outbox) if p.suffix != ".png" or p.name[0] == "."]
    verdict.scraps += scraps


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
