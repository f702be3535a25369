"""``director.py vram --table``: every file type of FLUX.1-dev on the usual cards; README's table.

File sizes are to the byte what the quantiser writes. Everything else is one picture of 1024 x 1024
with a T5 in Q8_0: how much of the card it takes when all of it is there, what crosses the bus at
each step on smaller cards, and what training a LoRA on it would take.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from core import vram_advice, vram_models
from models import vram_plan, vram_training
from models.flux import FLUX_DEV
from models.tensor_types import FileType
from models.vram_card import GIB, Launch
from models.vram_needs import Picture
from models.vram_plan import Verdict

CARDS = (6, 8, 12, 16, 24)  # GiB
PICTURE, TRAINED = Picture(1024, 1024), Picture(512, 512)
LARGEST = 64 * GIB  # a card that holds anything
GB = 1_000_000_000
KINDS = (FileType.F16, FileType.BF16, *vram_models.BY_QUALITY[1:])
_HEADS = ("type", "file", "on the card", "peak")
_NOTE = (
    "One picture of 1024 x 1024 with a T5 in Q8_0, on Windows. For each card: `whole`, or the GB "
    "that cross the bus at each step (about 12 GB a second). Peak: while sampling with all of the "
    "model on the card, without other programs' share."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One file type; sizes in bytes.

    Attributes:
        kind: the type.
        file: its size on disk.
        resident: of its weights on a card that holds all.
        peak: of such a card, other programs' share left out.
        streamed: by card in GiB, what crosses the bus at each step; 0 where all of it stays.
        training: of a LoRA of rank 16 at 512 x 512.
    """

    kind: str
    file: int
    resident: int
    peak: int
    streamed: dict[int, int]
    training: int


def rows(launch: Launch) -> list[Row]:
    """Plan every type on every card."""
    return [_row(kind, launch) for kind in KINDS]


def _row(kind: FileType, launch: Launch) -> Row:
    models = vram_advice.models(kind, FileType.Q8_0)
    whole = vram_plan.plan(models, PICTURE, LARGEST, launch, LARGEST).sampling
    streamed = {}
    for card in CARDS:
        plan = vram_plan.plan(models, PICTURE, card * GIB, launch)
        streamed[card] = 0 if plan.verdict is Verdict.WHOLE else plan.sampling.streamed
    return Row(
        kind=kind.name,
        file=vram_models.flux_dev_bytes(kind),
        resident=whole.resident,
        peak=whole.resident + whole.computing,
        streamed=streamed,
        training=vram_training.training(FLUX_DEV, whole.resident, TRAINED.tokens).total,
    )


def markdown(table: Sequence[Row]) -> str:
    """Write the table as README has it."""
    heads = [*_HEADS, *(f"{card} GB card" for card in CARDS), "LoRA training"]
    lines = [heads, ["---"] * len(heads), *map(_cells, table)]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", _NOTE])


def _cells(row: Row) -> list[str]:
    cards = (f"{moved / GB:.1f}" if moved else "whole" for moved in row.streamed.values())
    return [
        *(row.kind, f"{row.file / GB:.2f} GB"),
        *(f"{row.resident / GB:.1f} GB", f"{row.peak / GB:.1f} GB"),
        *cards,
        f"{row.training / GB:.1f} GB",
    ]


def tell(table: Sequence[Row], as_json: bool) -> None:
    """Print it: JSON, Markdown where nobody looks on, or a table for people."""
    if as_json:
        print(json.dumps({"event": "table", "rows": [_event(row) for row in table]}))
    elif not sys.stdout.isatty():
        print(markdown(table))
    else:
        shown = Table(
            *(*_HEADS, *(f"{card} GB" for card in CARDS), "LoRA"),
            box=None,
            padding=(0, 2, 0, 0),
        )
        for row in table:
            shown.add_row(*_cells(row))
        console = Console(highlight=False)
        console.print(shown)
        console.print(_NOTE.replace("`", ""))


def _event(row: Row) -> dict[str, Any]:
    return asdict(row)
