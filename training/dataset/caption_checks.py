"""What is wrong with captions: missing, empty, the same, too long, oddly encoded.

Pure: captions in, findings out.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.dataset import picture_set
from training.dataset.caption_file import CaptionFile
from training.dataset.finding import Finding, Severity
from training.dataset.token_count import T5_TOKENS, TokenCounter

WATERMARK = re.compile(
    r"\b(watermark\w*|signature|logo|shutterstock|getty images|stock photo|copyright)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Caption:
    """The caption of one picture.

    Attributes:
        file: the picture, relative to the folder.
        own: what its file says.
        text: what is trained; holds the trigger word.
    """

    file: str
    own: CaptionFile
    text: str


def check(
    captions: Sequence[Caption], trigger: str, counters: Sequence[TokenCounter]
) -> Iterator[Finding]:
    """Check all captions."""
    yield from absent(captions, trigger)
    yield from without_trigger(captions, trigger)
    yield from repeated(captions)
    yield from odd_encoding(captions)
    yield from watermarked(captions)
    for counter in counters:
        yield from too_long(captions, counter)


def absent(captions: Sequence[Caption], trigger: str) -> Iterator[Finding]:
    """Find pictures without a caption, and empty captions."""
    fix = "Describe what is to stay changeable (clothes, place, pose), or `prepare --caption`"
    then = f"trained with {trigger!r} alone"
    missing = _files(captions, lambda one: not one.own.exists)
    empty = _files(captions, lambda one: one.own.exists and not one.own.text)
    if missing:
        yield Finding(Severity.WARNING, "no-caption", missing, f"no caption: {then}", fix)
    if empty:
        yield Finding(Severity.WARNING, "empty-caption", empty, f"empty caption: {then}", fix)


def without_trigger(captions: Sequence[Caption], trigger: str) -> Iterator[Finding]:
    """Find captions that have to be given the trigger word."""
    found = _files(
        captions,
        lambda one: (
            bool(one.own.text)
            and picture_set.PLACEHOLDER not in one.own.text
            and not picture_set.holds(one.own.text, trigger)
        ),
    )
    if found:
        text = f"the caption does not hold {trigger!r}, which is put in front"
        yield Finding(Severity.NOTE, "no-trigger", found, text)


def repeated(captions: Sequence[Caption]) -> Iterator[Finding]:
    """Find captions that several pictures share word for word."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in captions:
        if one.own.text:
            groups[one.text.casefold()].append(one.file)
    for files in groups.values():
        if len(files) > 1:
            text = f"{len(files)} pictures have the same caption"
            fix = "Say what differs, or the LoRA takes it for the same"
            yield Finding(Severity.WARNING, "same-caption", tuple(files), text, fix)


def odd_encoding(captions: Sequence[Caption]) -> Iterator[Finding]:
    """Find captions that other trainers would read wrongly."""
    fix = "Save it as UTF-8; `prepare` does"
    for encoding, severity, text in (
        ("cp1252", Severity.WARNING, "the caption is no UTF-8; it was read as Windows-1252"),
        ("utf-16", Severity.WARNING, "the caption is UTF-16, which other trainers cannot read"),
        ("utf-8-sig", Severity.NOTE, "the caption begins with a byte order mark"),
    ):
        found = _files(captions, lambda one, encoding=encoding: one.own.encoding == encoding)  # type: ignore[misc] # mypy cannot infer a lambda with a default
        if found:
            yield Finding(severity, "caption-encoding", found, text, fix)
    cut = _files(captions, lambda one: one.own.cut)
    if cut:
        text = "the caption's file is no caption: it is longer than 64 KiB and was cut off"
        yield Finding(Severity.WARNING, "caption-cut", cut, text, "Put a caption there")


def watermarked(captions: Sequence[Caption]) -> Iterator[Finding]:
    """Find captions that speak of watermarks."""
    for one in captions:
        if word := WATERMARK.search(one.own.text):
            text = f"the caption speaks of {word[0].lower()!r}"
            fix = "Remove it from the picture, or leave the picture out"
            yield Finding(Severity.WARNING, "watermark", (one.file,), text, fix)


def too_long(captions: Sequence[Caption], counter: TokenCounter) -> Iterator[Finding]:
    """Find captions of more tokens than a text encoder should get."""
    t5 = counter.name == "T5"
    fix = "Shorten it, or begin with what matters"
    for one in captions:
        if counter.count(one.text) > counter.cap:
            text = f"the caption is {counter.told(one.text)}; more than {counter.cap} "
            if not t5:
                text += "it does not read, but T5 reads on"
            elif counter.cap < T5_TOKENS:
                text += "it does not read"
            else:
                text += "make every step slower"
            severity = Severity.WARNING if t5 else Severity.NOTE
            yield Finding(severity, "long-caption", (one.file,), text, fix if t5 else "")


def _files(captions: Sequence[Caption], wanted: Callable[[Caption], bool]) -> tuple[str, ...]:
    return tuple(one.file for one in captions if wanted(one))
