"""What is wrong with a set as a whole: too few, too alike, all from one distance, no face.

Pure: measurements in, findings out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum

from training.dataset.finding import Finding, Severity
from training.dataset.measurement import Measurement
from training.recipe import Preset

FEWEST = 8
ADVISED = {Preset.CHARACTER: 12, Preset.STYLE: 30, Preset.CONCEPT: 15}
"""As the presets say (configs/presets)."""
NEAR = 6
"""Bits of 64 in which the perceptual hashes of near duplicates differ at most (imagededup: 10 for
its own pHash by default, 6 finds fewer that are only alike)."""
SHAPE = 1.5  # of near duplicates' shapes: a crop from 3:2 to 1:1 is still one
ONE_FRAMING = 0.6
SEEN = 5  # faces that tell of framing


class Framing(StrEnum):
    """How near a person is, by the face's share of the picture's height."""

    CLOSE_UP = "close-up"
    PORTRAIT = "portrait"
    FIGURE = "figure"


def check(measured: Sequence[Measurement], preset: Preset) -> Iterator[Finding]:
    """Check the set."""
    yield from too_few(len(measured), preset)
    yield from same_bytes(measured)
    yield from near_duplicates(measured)
    if preset == Preset.CHARACTER:
        yield from faces(measured)
        yield from one_framing(measured)


def too_few(count: int, preset: Preset) -> Iterator[Finding]:
    """Find a set that is too small."""
    told = f"there {'is 1 picture' if count == 1 else f'are {count} pictures'}"
    if 0 < count < FEWEST:
        text = f"{told}: below {FEWEST} a LoRA learns the pictures, not what is on them"
        yield Finding(Severity.WARNING, "too-few", (), text, "Add some that differ")
    elif FEWEST <= count < ADVISED[preset]:
        text = f"{told}; for a {preset} {ADVISED[preset]} and more are usual"
        yield Finding(Severity.NOTE, "few", (), text)


def same_bytes(measured: Sequence[Measurement]) -> Iterator[Finding]:
    """Find files that are the same."""
    for files in duplicates(measured):
        text = f"{len(files)} files are the same picture"
        fix = "Keep one of them; `prepare` does"
        yield Finding(Severity.WARNING, "duplicate", files, text, fix)


def duplicates(measured: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Return groups of files with the same bytes."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in measured:
        groups[one.sha256].append(one.file)
    return [tuple(files) for files in groups.values() if len(files) > 1]


def near_duplicates(measured: Sequence[Measurement]) -> Iterator[Finding]:
    """Find pictures that look the same."""
    for group in alike(measured):
        text = f"{len(group)} pictures look nearly the same"
        fix = "Keep the best of them, unless you want it to weigh more"
        yield Finding(
            Severity.WARNING, "near-duplicate", tuple(one.file for one in group), text, fix
        )


def alike(measured: Sequence[Measurement]) -> list[tuple[Measurement, ...]]:
    """Return groups of pictures that look the same and are no copies; linked ones are one group."""
    singles = list({one.sha256: one for one in reversed(measured)}.values())[::-1]
    group = list(range(len(singles)))

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    for index, one in enumerate(singles):
        for other in range(index):
            if _near(one, singles[other]):
                group[root(index)] = root(other)
    found: dict[int, list[Measurement]] = defaultdict(list)
    for index, one in enumerate(singles):
        found[root(index)].append(one)
    return [tuple(members) for members in found.values() if len(members) > 1]


def _near(one: Measurement, other: Measurement) -> bool:
    if (one.likeness ^ other.likeness).bit_count() > NEAR:
        return False
    # The hash is of a square: what was stretched to it differently is not alike.
    shapes = sorted(each.look.width / each.look.height for each in (one, other))
    return shapes[1] <= SHAPE * shapes[0]


def faces(measured: Sequence[Measurement]) -> Iterator[Finding]:
    """Find pictures of a character without a face, or with several."""
    none = tuple(one.file for one in measured if not one.faces)
    several = tuple(one.file for one in measured if len(one.faces) > 1)
    if none and len(none) == len(measured):
        text = "no face was found in any picture, so framing was not judged"
        yield Finding(Severity.NOTE, "no-faces", (), text)
    elif none:
        text = "no face was found (turned away, small, covered, or missed)"
        yield Finding(Severity.NOTE, "no-face", none, text)
    if several:
        text = "more than one face was found; the LoRA cannot know which is meant"
        fix = "Crop to one person, if it is so: the detector may be wrong"
        yield Finding(Severity.WARNING, "several-faces", several, text, fix)


def one_framing(measured: Sequence[Measurement]) -> Iterator[Finding]:
    """Find a set in which a person is nearly always as far away."""
    framed = Counter(found for one in measured if (found := framing(one)))
    total = framed.total()
    for kind, count in framed.items():
        if total >= SEEN and count > ONE_FRAMING * total:
            text = (
                f"{count} of {total} pictures with a face are of one framing ({kind}): "
                "the LoRA will draw little else"
            )
            fix = "Mix close-ups, portraits and whole figures"
            yield Finding(Severity.WARNING, "one-framing", (), text, fix)


def framing(one: Measurement) -> Framing | None:
    """Return how near the person is; None if no face was found."""
    if not one.faces:
        return None
    share = one.faces[0].height / one.look.height
    if share >= 0.4:  # the face fills the picture
        return Framing.CLOSE_UP
    return Framing.PORTRAIT if share >= 0.15 else Framing.FIGURE  # head and shoulders
