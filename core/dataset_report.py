"""What `dataset validate` and `dataset prepare` print for people: a summary, and what was found.

Findings of one kind stand together, each kind with its advice once. Fits 80 columns where names do.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.dataset.check import Report
    from training.dataset.finding import Finding
    from training.dataset.preparation import Prepared

MOST_LINES = 5  # of one kind; the page has them all
MOST_FILES = 6  # names in one line
MOST_SIZES = 8
_INDENT = 10


def show(report: "Report") -> None:
    """Print what was found."""
    lines = [*_head(report), *_sizes(report)]
    for _, found in groupby(report.findings, key=lambda one: (one.severity, one.code)):
        lines += _kind(list(found))
    _say(lines)


def show_prepared(prepared: "Prepared") -> None:
    """Print what was written."""
    from training.dataset.finding import printable

    lines = [f"{prepared.target}: {len(prepared.written)} pictures with captions"]
    if prepared.captioned:
        lines.append(f"  {len(prepared.captioned)} captions were written by the captioner")
    if prepared.crops:
        lines.append(
            f"  {prepared.crops} proposed crops lie apart: look at them before you add one"
        )
    for file, why in list(prepared.left_out.items())[:MOST_LINES]:
        lines += _wrapped(f"left out: {printable(file)}: {why}", "  ", "    ")
    if len(prepared.left_out) > MOST_LINES:
        lines.append(f"  and {len(prepared.left_out) - MOST_LINES} more were left out")
    _say(lines)


def _head(report: "Report") -> Iterator[str]:
    count, described = len(report.captions), sum(bool(one.own.text) for one in report.captions)
    sides = ", ".join(map(str, report.recipe.resolution))
    yield f"{report.folder}: {_counted(count, 'picture')}, {described} with captions"
    yield f"  for:      a {report.preset} called {report.trigger!r}, trained at {sides} pixels"
    yield (
        f"  found:    {_counted(len(report.errors), 'error')}, "
        f"{_counted(len(report.warnings), 'warning')}, {_counted(len(report.notes), 'note')}"
    )
    if not report.exact:
        yield "  tokens:   estimated, as no tokenizer is here (--t5, --clip)"


def _sizes(report: "Report") -> Iterator[str]:
    for side, found in report.buckets.items():
        often = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        told = [f"{count} of {bucket}" for bucket, count in often[:MOST_SIZES]]
        more = f", {len(often) - MOST_SIZES} other sizes" if len(often) > MOST_SIZES else ""
        if told:
            yield from _wrapped(f"{', '.join(told)}{more}", f"  at {side}:".ljust(12), " " * 12)


def _kind(findings: "Sequence[Finding]") -> Iterator[str]:
    first, blank = findings[0], " " * _INDENT
    for index, one in enumerate(findings[:MOST_LINES]):
        mark = f"{first.severity}:" if not index else ""
        yield from _wrapped(_told(one), mark.ljust(_INDENT), f"{blank}  ")
    if len(findings) > MOST_LINES:
        yield f"{blank}and {len(findings) - MOST_LINES} more of this kind"
    if first.fix:
        yield from _wrapped(f"-> {first.fix}", blank, f"{blank}   ")


def _told(one: "Finding") -> str:
    from training.dataset.finding import printable

    names = [printable(file) for file in one.files[:MOST_FILES]]
    more = len(one.files) - len(names)
    files = ", ".join(names) + (f" and {more} more" if more else "")
    return f"{files}: {one.text}" if files else one.text


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _wrapped(text: str, first: str, other: str) -> list[str]:
    width = max(60, shutil.get_terminal_size((80, 24)).columns)
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=other, break_on_hyphens=False
    )


def _say(lines: Iterable[str]) -> None:
    """Print lines whatever the terminal can show."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, errors="replace").decode(encoding))
