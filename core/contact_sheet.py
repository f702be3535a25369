"""Several pictures on one, each with a line of text below it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from models import store

CELL = 256  # pixels a picture may take in either direction
GAP, LINES, LINE = 12, 2, 15  # between cells; lines of text and their height
PAPER, INK = (250, 250, 248), (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture and what to write below it."""

    picture: Path
    label: str


def make(cells: Sequence[Cell], columns: int = 4) -> bytes:
    """Lay the pictures out in rows and return the sheet as PNG."""
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    height = CELL + LINES * LINE + GAP
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        _place(sheet, cell, GAP + column * (CELL + GAP), GAP + row * (height + GAP))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def save(path: Path, cells: Sequence[Cell], columns: int = 4) -> None:
    """Write a sheet, whole or not at all."""
    store.atomic_write(path, make(cells, columns))


def _place(sheet: Image.Image, cell: Cell, left: int, top: int) -> None:
    with Image.open(cell.picture) as opened:
        picture = opened.convert("RGB")
    scale = min(CELL / picture.width, CELL / picture.height)
    size = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    sheet.paste(picture, (left + (CELL - size[0]) // 2, top + (CELL - size[1]) // 2))
    _write(ImageDraw.Draw(sheet), cell.label, left, top + CELL + GAP // 2)


def _write(draw: ImageDraw.ImageDraw, label: str, left: int, top: int) -> None:
    font = ImageFont.load_default(12)
    for number, line in enumerate(_wrapped(label, font)[:LINES]):
        draw.text((left, top + number * LINE), line, fill=INK, font=font)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text into lines that fit a cell."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= CELL or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
