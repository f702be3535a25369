"""The page about a data set: one HTML file that needs nothing else, in light and dark.

Thumbnails are data URIs, proposed crops are drawn over them as inline SVG; there is no script.
Looks as the pages of ``director.py report`` do, and fits 360 pixels as well as 1400.
"""

import base64
from collections.abc import Iterator, Sequence
from html import escape

from training.buckets import Bucket, choose
from training.dataset.check import Report
from training.dataset.facts import KIND
from training.dataset.finding import Finding, Severity, printable
from training.dataset.measurement import Measurement

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#23262b;--grey:#667;--line:#d9d7d0;--card:#fff;
--blue:#0072b2;--red:#b3261e;--amber:#9a5b00}
@media(prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#e6e4df;--grey:#9a9da3;--line:#33373d;
--card:#1e2125;--blue:#56b4e9;--red:#ff8a80;--amber:#e6b04c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:1rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem}p{max-width:72ch}
.grey{color:var(--grey)}.error{color:var(--red)}.warning{color:var(--amber)}.note{color:var(--grey)}
b{font-weight:600}ul{padding-left:1.1rem;margin:.3rem 0}li{overflow-wrap:anywhere}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem .25rem 0;text-align:right;font-weight:400}th{text-align:left}
thead th{font-weight:600}td svg{width:140px;height:.8em;vertical-align:-.05em}
td rect{fill:var(--blue)}
.sheet{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));padding:0}
figure{margin:0;padding:.5rem;background:var(--card);border:1px solid var(--line);
border-radius:8px;font-size:.85rem;line-height:1.35;min-width:0}
figure.error{border-color:var(--red)}figure.error,figure.warning,figure.note{color:inherit}
.pic{position:relative;display:block;margin:0 auto .4rem;width:fit-content}
.pic img{display:block;max-width:100%;max-height:220px;border-radius:4px}
.pic svg{position:absolute;inset:0;width:100%;height:100%}
.pic rect{fill:none;stroke:#fff;stroke-width:3;vector-effect:non-scaling-stroke;
paint-order:stroke;filter:drop-shadow(0 0 2px #000)}
figcaption{overflow-wrap:anywhere}.told{display:-webkit-box;-webkit-box-orient:vertical;
-webkit-line-clamp:6;overflow:hidden}figure ul{padding-left:1rem}summary{cursor:pointer}
"""
MOST_FILES = 8  # names in a line about many pictures; each picture says it again
MOST_OTHERS = 3
PAIRED = ("duplicate", "near-duplicate", "same-caption", "same-name", "shared-caption")
_NAMES = {Severity.ERROR: "Errors", Severity.WARNING: "Warnings", Severity.NOTE: "Notes"}


def write(report: Report) -> str:
    """Return the page."""
    title = f"Data set {report.trigger}: {printable(report.folder.name)}"
    parts = [f"<h1>{escape(title)}</h1>", *_summary(report), *_findings(report), *_sizes(report)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="generator" content="{KIND}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join([*parts, *_sheet(report)])
        + "\n</body></html>\n"
    )


def _summary(report: Report) -> Iterator[str]:
    count, described = len(report.captions), sum(bool(one.own.text) for one in report.captions)
    sides = ", ".join(map(str, report.recipe.resolution))
    yield (
        f"<p>{count} pictures, {described} with captions. For a {report.preset} called "
        f"<b>{escape(report.trigger)}</b>, trained at {sides} pixels. "
        f"{_counts(report)}.</p>"
    )
    if not report.exact:
        yield '<p class="grey">Tokens are estimated: no tokenizer of a text encoder is here.</p>'


def _counts(report: Report) -> str:
    found = zip(Severity, (report.errors, report.warnings, report.notes), strict=True)
    return ", ".join(
        f'<b class="{severity}">{len(those)} {severity}{"" if len(those) == 1 else "s"}</b>'
        for severity, those in found
    )


def _findings(report: Report) -> Iterator[str]:
    for severity, found in zip(
        Severity, (report.errors, report.warnings, report.notes), strict=True
    ):
        if found:
            lines = "\n".join(f"<li>{_finding(one)}</li>" for one in found)
            opened = "" if severity == Severity.NOTE else " open"
            yield (
                f'<details{opened}><summary><b class="{severity}">{_NAMES[severity]} '
                f"({len(found)})</b></summary><ul>{lines}</ul></details>"
            )


def _finding(one: Finding) -> str:
    names = [escape(printable(file)) for file in one.files[:MOST_FILES]]
    more = len(one.files) - len(names)
    files = ", ".join(names) + (f" and {more} more" if more else "")
    fix = f' <span class="grey">{escape(one.fix)}.</span>' if one.fix else ""
    return f"{f'<b>{files}</b>: ' if files else ''}{escape(one.text)}.{fix}"


def _sizes(report: Report) -> Iterator[str]:
    yield "<h2>Sizes</h2><p>Each picture is trained at the size nearest to its shape.</p>"
    for side, found in report.buckets.items():
        most = max(found.values(), default=1)
        rows = "".join(_size_row(bucket, count, most) for bucket, count in found.items())
        head = f'<tr><th scope="col">at {side}</th><th scope="col">pictures</th><th></th></tr>'
        yield f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _size_row(bucket: Bucket, count: int, most: int) -> str:
    head = '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
    bar = f"{head}{_rect(count, most)}"
    return f'<tr><th scope="row">{bucket}</th><td>{count}</td><td>{bar}</svg></td></tr>'


def _rect(count: int, most: int) -> str:
    return f'<rect width="{100 * count / most:.1f}" height="8"/>'


def _sheet(report: Report) -> Iterator[str]:
    yield "<h2>Pictures</h2>"
    if report.crops:
        yield (
            "<p>A frame is a proposal: that part would make a picture of its own. Nothing is "
            "cropped unless you do it; <code>dataset prepare --crops DIR</code> writes them.</p>"
        )
    about: dict[str, list[Finding]] = {caption.file: [] for caption in report.captions}
    for one in report.findings:
        for file in one.files:
            about.setdefault(file, []).append(one)
    measured = {one.file: one for one in report.measured}
    captions = {one.file: one.text for one in report.captions}
    files = sorted(captions, key=lambda file: _rank(about[file]))
    cards = [_card(report, file, measured.get(file), captions[file], about[file]) for file in files]
    yield f'<div class="sheet">{"".join(cards)}</div>'


def _rank(findings: Sequence[Finding]) -> int:
    """Order the worst first; the rest stay by name."""
    return min((list(Severity).index(one.severity) for one in findings), default=len(Severity))


def _card(
    report: Report,
    file: str,
    one: Measurement | None,
    caption: str,
    findings: Sequence[Finding],
) -> str:
    worst = findings[0].severity if findings else ""
    told = "".join(
        f'<li class="{each.severity}">{escape(each.text)}{_others(each, file)}</li>'
        for each in findings
    )
    size = ""
    if one:
        size = f'<div class="grey">{_size(report, one)}</div>'
    return (
        f'<figure class="{worst}">{_picture(report, one) if one else ""}<figcaption>'
        f"<b>{escape(printable(file))}</b>{size}<div class='told'>{escape(caption)}</div>"
        f"{f'<ul>{told}</ul>' if told else ''}</figcaption></figure>\n"
    )


def _others(one: Finding, file: str) -> str:
    """Name the other pictures of a pair or a small group."""
    others = [printable(other) for other in one.files if other != file]
    if one.code not in PAIRED or len(others) > MOST_OTHERS:
        return ""
    return f": also {escape(', '.join(others))}"


def _size(report: Report, one: Measurement) -> str:
    width, height, recipe = one.look.width, one.look.height, report.recipe
    found = (choose(width, height, side, recipe.bucket_step) for side in recipe.resolution)
    return f"{width}x{height} &rarr; {', '.join(map(str, dict.fromkeys(found)))}"


def _picture(report: Report, one: Measurement) -> str:
    data = base64.b64encode(one.thumbnail).decode()
    frame = ""
    if box := report.crops.get(one.file):
        frame = (
            f'<svg viewBox="0 0 {one.look.width} {one.look.height}" aria-label="proposed crop">'
            f'<rect x="{box.left}" y="{box.top}" width="{box.width}" height="{box.height}"/></svg>'
        )
    alt = escape(printable(one.file), quote=True)
    return f'<div class="pic"><img alt="{alt}" src="data:image/jpeg;base64,{data}">{frame}</div>'
