"""The page of a comparison: one HTML file that needs nothing else, in light and dark.

Pictures are data URIs, bars are inline SVG, there is no script. Wide tables scroll by themselves,
so that the page fits 400 pixels as well as 1400.
"""

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from core import report_pictures
from core.report_pictures import Gallery, Likeness, Way
from core.report_weights import Weights
from quantize import layer_proof, verify
from quantize.layer_proof import LayerProof
from quantize.verify import TensorError

SHOWN = 12  # tensors and layers outside of the folded list

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#23262b;--grey:#667;--line:#d9d7d0;--card:#fff;
--blue:#0072b2;--red:#d55e00}
@media(prefers-color-scheme:dark){:root{--paper:#16181b;--ink:#e6e4df;--grey:#9a9da3;--line:#33373d;
--card:#1e2125;--blue:#56b4e9;--red:#e69f00}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:1rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p,li{max-width:72ch}code,.n{overflow-wrap:anywhere}.grey,figcaption,caption{color:var(--grey)}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.5rem .6rem 0;font-size:.85rem}
th,td{padding:.35rem .6rem;text-align:right;border-top:1px solid var(--line);white-space:nowrap}
thead th{border-top:0;font-weight:600;vertical-align:bottom;white-space:normal}
tbody th{text-align:left;font-weight:400}th:first-child,td:first-child{text-align:left}
.sheet{table-layout:fixed;min-width:600px}.sheet thead th:first-child{width:19%;text-align:left}
.sheet td,.sheet thead th{text-align:center;vertical-align:top;padding:.35rem;white-space:normal}
.sheet tbody th{white-space:normal;padding:.35rem .6rem;font-size:.85rem}
.sheet img{display:block;width:100%;max-width:190px;margin:auto;border-radius:4px}
.sheet small{display:block;color:var(--grey);font-size:.75rem;line-height:1.3}
svg{width:110px;height:.8em;vertical-align:-.05em}svg .b{fill:var(--line)}svg .a{fill:var(--blue)}
svg .c{fill:var(--red)}details{margin:.6rem 0}summary{cursor:pointer}
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands at the top.

    Attributes:
        title: of the page.
        lines: name and value of each thing compared.
        quantised: name of the file type, such as Q4_K_S.
        notes: what a reader has to know, in sentences.
    """

    title: str
    lines: Sequence[tuple[str, str]]
    quantised: str
    notes: Sequence[str] = ()


def page(facts: Facts, gallery: Gallery | None, weights: Weights) -> str:
    """Write the page.

    Args:
        facts: what is compared.
        gallery: all pictures; None if only weights are compared.
        weights: what was measured of them.
    """
    parts = [
        *_head(facts),
        *(_pictures(gallery) if gallery else ()),
        *_errors(weights.errors, facts.quantised),
        *(_proofs(weights) if weights.proofs else ()),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(facts.title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _head(facts: Facts) -> Iterator[str]:
    yield f"<h1>{escape(facts.title)}</h1>"
    rows = [
        [escape(name), f'<span class="n">{escape(value)}</span>'] for name, value in facts.lines
    ]
    lines = "".join(f"<li>{name}: {value}</li>" for name, value in rows)
    yield f"<ul>{lines}</ul>"
    for note in facts.notes:
        yield f'<p class="grey">{escape(note)}</p>'


# --- pictures -------------------------------------------------------------------------------------


def _pictures(gallery: Gallery) -> Iterator[str]:
    yield "<h2>Pictures</h2>"
    yield (
        "<p>Every prompt and seed was drawn in every way by the same host. PSNR (median, lowest) "
        "and SSIM (mean, lowest) compare with the way named beside them. Time is the median of all "
        "steps but the first of each picture, the ways taking turns.</p>"
    )
    yield _table(
        ["way", "file", "compared with", "PSNR", "SSIM", "a step", "", *_judged_heads(gallery)],
        _figures(gallery),
    )
    yield "<h2>Sheet</h2>"
    yield _sheet(gallery)


def _judged_heads(gallery: Gallery) -> list[str]:
    way = gallery.ways[0]
    return ["scene right"] * bool(gallery.scenes(way).count) + ["concept shown"] * bool(
        gallery.concepts(way).count
    )


def _figures(gallery: Gallery) -> Iterator[list[str]]:
    labels = {way.name: way.label for way in gallery.ways}
    slowest = max(gallery.step(way) for way in gallery.ways)
    for way in gallery.ways:
        found, step = gallery.likenesses(way), gallery.step(way)
        similar = report_pictures.average([one.ssim for one in found])
        like = labels[way.reference] if found else "-"
        yield [
            escape(way.label),
            f"{way.unet.stat().st_size / 1e6:,.1f} MB",
            escape(like),
            _psnrs(found),
            f"{similar:.3f} ({min(one.ssim for one in found):.3f})" if found else "-",
            f"{step * 1e3:,.1f} ms",
            _bar(step / slowest, "c") if slowest else "",
            *(str(share) for share in (gallery.scenes(way), gallery.concepts(way)) if share.count),
        ]


def _psnrs(found: Sequence[Likeness]) -> str:
    if not found:
        return "-"
    values = [one.psnr for one in found]
    least = min((value for value in values if value is not None), default=None)
    return f"{_psnr(report_pictures.middle(values))} ({_psnr(least)})"


def _psnr(value: float | None) -> str:
    return "identical" if value is None else f"{value:.1f} dB"


def _sheet(gallery: Gallery) -> str:
    heads = "".join(f'<th scope="col">{escape(way.label)}</th>' for way in gallery.ways)
    rows = []
    for number, request in enumerate(gallery.requests):
        cells = "".join(_cell(gallery, number, way) for way in gallery.ways)
        told = f"{escape(request.prompt)}<small>seed {request.seed}</small>"
        rows.append(f'<tr><th scope="row">{told}</th>{cells}</tr>')
    first = gallery.requests[0]
    size = f"{first.width} x {first.height} pixels, {first.steps} steps"
    return (
        f'<div class="wide"><table class="sheet"><caption>{size}</caption>'
        f"<thead><tr><th>prompt</th>{heads}</tr></thead>\n<tbody>"
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _cell(gallery: Gallery, row: int, way: Way) -> str:
    data = base64.b64encode(gallery.drawn[row, way.name].png).decode()
    alt = escape(f"{gallery.requests[row].prompt}, {way.label}", quote=True)
    found = gallery.likeness(row, way)
    told = f"<small>{_psnr(found.psnr)}, {found.ssim:.3f}</small>" if found else ""
    return f'<td><img alt="{alt}" src="data:image/png;base64,{data}">{told}</td>'


# --- weights --------------------------------------------------------------------------------------


def _errors(errors: Sequence[TensorError], kind: str) -> Iterator[str]:
    largest = max((one.error for one in errors if math.isfinite(one.error)), default=0.0)
    ordered = verify.worst(errors, len(errors))

    def row(one: TensorError) -> list[str]:
        bar = _bar(one.error / largest, "c") if largest and math.isfinite(one.error) else ""
        return [_name(one.name), one.type.name, f"{one.weights:,}", f"{one.error:.3%}", bar]

    yield f"<h2>Weights: {escape(kind)} against the source</h2>"
    yield (
        f"<p>Relative RMS error of all {sum(one.weights for one in errors):,} weights: "
        f"{verify.overall(errors):.3%}. The tensors that lost most:</p>"
    )
    yield from _folded(["tensor", "type", "weights", "error", ""], [row(one) for one in ordered])


def _proofs(weights: Weights) -> Iterator[str]:
    ordered = layer_proof.worst(weights.proofs)
    raised = sum(one.raised for one in ordered)
    yield "<h2>Weights: the LoRA in the baked file</h2>"
    yield (
        f"<p>{len(ordered)} layers are changed; at least {ordered[0].last.kept:.2%} of the LoRA is "
        f"kept in each{f', {raised} got a finer type for that' if raised else ''}. "
        "<i>Requantised</i> is what would be left if the LoRA were added to the quantised file "
        "instead (a sample of rows). <i>Error</i> is what quantising adds in the LoRA's own space, "
        "by the length of the LoRA: it is large where the LoRA is small.</p>"
    )
    heads = ["layer", "type", "LoRA", "kept", "", "error", "requantised", ""]
    yield from _folded(heads, [_proof(one, weights) for one in ordered])


def _proof(one: LayerProof, weights: Weights) -> list[str]:
    wrong = weights.wrong_way.get(one.name)
    return [
        _name(one.name),
        " &gt; ".join(attempt.type.name for attempt in one.attempts),
        f"{one.size:.2%}",
        f"{one.last.kept:.2%}",
        _bar(one.last.kept),
        f"{one.last.error:.2%}",
        "-" if wrong is None else f"{wrong:.2%}",
        "" if wrong is None else _bar(wrong, "c"),
    ]


# --- building blocks ------------------------------------------------------------------------------


def _name(tensor: str) -> str:
    return f"<code>{escape(tensor.removesuffix('.weight'))}</code>"


def _folded(heads: Sequence[str], rows: Sequence[list[str]]) -> Iterator[str]:
    yield _table(heads, rows[:SHOWN])
    if rows[SHOWN:]:
        more = _table(heads, rows[SHOWN:])
        yield f"<details><summary>{len(rows) - SHOWN} more</summary>{more}</details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{first}</th>'
        + "".join(f"<td>{one}</td>" for one in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _bar(share: float, kind: str = "a") -> str:
    """A bar from 0 to 1."""
    width = 100 * min(1.0, max(0.0, share))
    return (
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="b" width="100" height="8"/><rect class="{kind}" width="{width:.1f}" '
        'height="8"/></svg>'
    )
