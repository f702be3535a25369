"""What `lora inspect` and `lora check` print for people: a few lines and a table.

One row of the table is one kind of module; its norms are drawn over the depth of the model, so
that a LoRA that lives in a few blocks shows at a glance. Fits 80 columns.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.lora_inspection import Identity, Inspection
from models.flux import FluxShape, diffusers_pieces
from models.lora import LoraLayer
from quantize.lora_norms import LayerNorm

MOST_REASONS = 20
_DEPTH = 19  # columns of the drawing: FLUX.1's double blocks, or two single blocks each
_BARS = "·▁▂▃▄▅▆▇█"  # the first: nothing changes there
_PLAIN_BARS = ".12345678"
_BLOCK = re.compile(r"(double|single)_blocks\.([0-9]+)\.(.+)")


@dataclass(slots=True)
class _Kind:
    """One kind of module in all blocks."""

    title: str
    blocks: int
    parts: set[str] = field(default_factory=set)
    layers: list[LoraLayer] = field(default_factory=list)
    squares: dict[int, float] = field(default_factory=dict)  # block -> sum of squared norms

    def add(self, index: int, part: str, measured: LayerNorm) -> None:
        self.parts.add(part)
        self.layers.append(measured.layer)
        self.squares[index] = self.squares.get(index, 0.0) + measured.norm**2

    @property
    def norms(self) -> dict[int, float]:
        return {index: math.sqrt(square) for index, square in self.squares.items()}


def show(console: Console, identity: Identity, found: Inspection | None, refusal: str) -> None:
    """Print what is known of a file."""
    for line in _head(identity, found):
        say(console, line)
    if found is None:
        say(console, f"Not usable: {refusal}")
        return
    console.print(_table(found, _BARS if console.encoding.startswith("utf") else _PLAIN_BARS))
    for line in _foot(found):
        say(console, line)


def say(console: Console, line: str) -> None:
    """Print a line as it is, whatever a file's name or metadata hold and the terminal can show."""
    shown = line.encode(console.encoding, errors="replace").decode(console.encoding)
    console.print(Text(shown))


def reasons(console: Console, texts: Sequence[str]) -> None:
    """List findings, the first twenty of them."""
    for text in texts[:MOST_REASONS]:
        say(console, f"  wrong: {text}")
    if len(texts) > MOST_REASONS:
        say(console, f"  and {len(texts) - MOST_REASONS} more; --json lists them all")


def notes(console: Console, texts: Iterable[str]) -> None:
    """List what is odd."""
    for text in texts:
        say(console, f"  note: {text}")


def _head(identity: Identity, found: Inspection | None) -> Iterator[str]:
    yield f"{identity.path}: {identity.nbytes / 1e6:,.1f} MB"
    if found:
        yield f"  is:       {_what(found)}"
    about = identity.about
    made = {
        "title": about.title,
        "base": about.base,
        "made by": about.made_by,
        "author": about.author,
        "date": about.date,
        "steps": about.steps,
        "epochs": about.epochs,
        "images": about.images,
        "resolution": about.resolution,
    }
    told = "; ".join(f"{name} {text}" for name, text in made.items() if text)
    yield f"  made:     {told or 'the file does not say how'}"
    if identity.trigger_words:
        yield f"  trigger:  {', '.join(identity.trigger_words)}"
    if about.tags:
        yield f"  tags:     {', '.join(f'{tag} ({count})' for tag, count in about.tags)}"
    hashes = identity.hashes
    yield f"  sha256:   {hashes.file}"
    yield f"  tensors:  {hashes.tensors}"
    yield f"  Civitai:  AutoV2 {hashes.autov2}, AutoV3 {hashes.autov3}"
    if identity.recorded_hash_differs:
        yield f"  note: its tensors were changed since its trainer hashed them ({_shown(identity)})"


def _shown(identity: Identity) -> str:
    return f"{identity.about.recorded_hash[:12]}..."


def _what(found: Inspection) -> str:
    lora = found.lora
    ranks = _range([layer.rank for layer in lora.layers])
    scales = _range([layer.scale for layer in lora.layers])
    naming = " and ".join(lora.families)
    return f"naming {naming}, {len(lora.layers)} layers, rank {ranks}, scale {scales}"


def _foot(found: Inspection) -> Iterator[str]:
    lora, total = found.lora, found.fit.total
    if lora.text_encoder:
        yield f"  text encoders: {len(lora.text_encoder)} keys; LoraLoaderModelOnly skips them"
    yield (
        f"  loads in: ComfyUI {len(found.fit.applied)} of {total} layers, "
        f"diffusers {len(found.fit.in_diffusers)}"
    )


def _table(found: Inspection, bars: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("changes", overflow="fold")
    for title in ("blocks", "rank", "scale", "norm"):
        table.add_column(title, justify="right")
    table.add_column("over depth", no_wrap=True)
    kinds = _kinds(found)
    finite = [x for kind in kinds for x in kind.norms.values() if math.isfinite(x)]
    for kind in kinds:
        table.add_row(
            _titled(kind, found.lora.shape),
            f"{len(kind.squares)}/{kind.blocks}" if kind.blocks else "",
            _range([layer.rank for layer in kind.layers]),
            _range([layer.scale for layer in kind.layers]),
            _range(list(kind.norms.values())),
            _drawn(kind, max(finite, default=0.0), bars),
        )
    return table


def _kinds(found: Inspection) -> list[_Kind]:
    """The kinds of modules that occur, double blocks first, in the model's order."""
    shape = found.lora.shape
    counts = {"double": shape.double_blocks, "single": shape.single_blocks}
    kinds: dict[str, _Kind] = {}
    parts = _parts(shape)
    for measured in found.norms:
        layer = measured.layer
        block = _BLOCK.fullmatch(layer.module)
        title = f"{block[1]} {block[3]}" if block else layer.module
        kind = kinds.setdefault(title, _Kind(title, counts[block[1]] if block else 0))
        part = parts.get((layer.module, layer.start_row, layer.rows), "")
        kind.add(int(block[2]) if block else 0, part, measured)
    return sorted(kinds.values(), key=lambda kind: (not kind.blocks, kind.title))


def _parts(shape: FluxShape) -> dict[tuple[str, int, int], str]:
    """Rows of fused modules to a short name of what they are: q, k, v or mlp."""
    found = {}
    for name, piece in diffusers_pieces(shape).items():
        last = name.removesuffix(".weight").rpartition(".")[2]
        short = last.removeprefix("to_").removeprefix("add_").removeprefix("proj_")
        module = piece.tensor.removesuffix(".weight")
        found[module, piece.start_row, piece.rows] = short.removesuffix("_proj")
    return found


def _titled(kind: _Kind, shape: FluxShape) -> str:
    """The kind's title, and the parts of a fused module if it does not change them all."""
    if not kind.title.endswith(("qkv", "linear1")) or "" in kind.parts:
        return kind.title
    every = ["q", "k", "v"] + ["mlp"] * kind.title.endswith("linear1")
    present = [part for part in every if part in kind.parts]
    return kind.title if present == every else f"{kind.title} ({' '.join(present)})"


def _drawn(kind: _Kind, largest: float, bars: str) -> str:
    """Bars over the blocks, the largest of the table being full."""
    if not kind.blocks:
        return ""
    step = -(-kind.blocks // _DEPTH)
    norms, out = kind.norms, ""
    for start in range(0, kind.blocks, step):
        here = [norms[index] for index in range(start, start + step) if index in norms]
        out += _bar(here, largest, bars)
    return out


def _bar(here: list[float], largest: float, bars: str) -> str:
    if not here:
        return bars[0]
    if not all(map(math.isfinite, here)):
        return "?"
    share, steps = max(here) / largest if largest else 0.0, len(bars) - 1
    return bars[min(steps, 1 + int(share * steps))]


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    if not all(map(math.isfinite, numbers)):
        return "NaN"
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g}-{high:.3g}"
