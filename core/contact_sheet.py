"""Several pictures on one sheet, each with a line of text below it, or as labelled grids.

Draws what it is given and nothing else: which picture belongs where, ``core.grid`` knows.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from models import store

CELL = 256  # pixels a picture may take in either direction
SMALLEST = 48  # of a cell, however many there are
MOST_PIXELS = 30_000_000  # a grid's cells together; they shrink to keep it
GAP, LINES, LINE = 12, 2, 15  # between cells; lines of text and their height
LABEL = 130  # pixels for the labels of rows
PAPER, INK, FAINT = (250, 250, 248), (40, 40, 40), (190, 190, 186)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture and what to write below it."""

    picture: Path
    label: str


@dataclass(frozen=True, slots=True)
class Box:
    """A place in a grid: its picture, or why there is none."""

    picture: Path | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A grid to draw.

    Attributes:
        title: what all its pictures share, a line each.
        columns: labels from left to right.
        rows: labels from top to bottom; one empty label where there is one axis only.
        boxes: row by row, as many as columns times rows.
        aspect: height of a box for a width of 1.
    """

    title: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    boxes: tuple[Box, ...]
    aspect: float = 1.0

    def box(self, side: int) -> tuple[int, int]:
        """Return a box's width and height when its longer side has this length."""
        aspect = min(4.0, max(0.25, self.aspect))
        return round(side / max(1.0, aspect)), round(side * min(1.0, aspect))


def make(cells: Sequence[Cell], columns: int = 4) -> bytes:
    """Lay the pictures out in rows and return the sheet as PNG."""
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    height = CELL + LINES * LINE + GAP
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        left, top = GAP + column * (CELL + GAP), GAP + row * (height + GAP)
        _paste(sheet, cell.picture, (left, top, CELL, CELL))
        _write(ImageDraw.Draw(sheet), cell.label, left, top + CELL + GAP // 2, CELL)
    return _png(sheet)


def save(path: Path, cells: Sequence[Cell], columns: int = 4) -> None:
    """Write a sheet, whole or not at all."""
    store.atomic_write(path, make(cells, columns))


def draw_grids(sheets: Sequence[Sheet], note: tuple[str, str] | None = None) -> bytes:
    """Draw grids below one another and return them as PNG.

    Args:
        sheets: at least one.
        note: keyword and text to keep in the file.
    """
    side = _side(sheets)
    drawn = [_draw(sheet, side) for sheet in sheets]
    size = (max(one.width for one in drawn), sum(one.height for one in drawn))
    whole = Image.new("RGB", size, PAPER)
    top = 0
    for one in drawn:
        whole.paste(one, (0, top))
        top += one.height
    return _png(whole, note)


def _side(sheets: Sequence[Sheet]) -> int:
    """Return the cells' size: as usual, or what is left of the pixels for that many."""
    cells = sum(len(sheet.boxes) for sheet in sheets)
    return max(SMALLEST, min(CELL, int((MOST_PIXELS / max(1, cells)) ** 0.5)))


def _draw(sheet: Sheet, side: int) -> Image.Image:
    wide, high = sheet.box(side)
    left = LABEL + GAP if any(sheet.rows) else GAP
    width = max(left + len(sheet.columns) * (wide + GAP), 3 * LABEL)
    title = [line for text in sheet.title for line in _wrapped(text, width - 2 * GAP)[:3]]
    top = GAP + len(title) * LINE + GAP + LINES * LINE
    drawn = Image.new("RGB", (width, top + len(sheet.rows) * (high + GAP)), PAPER)
    pen = ImageDraw.Draw(drawn)
    for number, line in enumerate(title):
        pen.text((GAP, GAP + number * LINE), line, fill=INK, font=_font())
    for number, label in enumerate(sheet.columns):
        _write(pen, label, left + number * (wide + GAP), top - LINES * LINE, wide)
    for number, label in enumerate(sheet.rows):
        _write_beside(pen, label, (GAP, top + number * (high + GAP), LABEL - GAP, high))
    for number, box in enumerate(sheet.boxes):
        row, column = divmod(number, len(sheet.columns))
        _fill(drawn, box, (left + column * (wide + GAP), top + row * (high + GAP), wide, high))
    return drawn


def _fill(drawn: Image.Image, box: Box, place: tuple[int, int, int, int]) -> None:
    """Put a box's picture, or why there is none, at left, top, width, height."""
    why = box.why
    if box.picture is not None:
        try:
            _paste(drawn, box.picture, place)
        except (OSError, ValueError, Image.DecompressionBombError):
            why = "no picture"  # moved away, or no format that can be shown
        else:
            return
    left, top, wide, high = place
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((left, top, left + wide - 1, top + high - 1), outline=FAINT)
    _write_beside(pen, why, (left + 4, top, wide - 8, high))


def _paste(sheet: Image.Image, path: Path, place: tuple[int, int, int, int]) -> None:
    left, top, wide, high = place
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"{path} cannot be shown: {error}") from error
    scale = min(wide / picture.width, high / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    sheet.paste(picture, (left + (wide - size[0]) // 2, top + (high - size[1]) // 2))


@cache
def _font() -> Font:
    return ImageFont.load_default(12)


def _write(pen: ImageDraw.ImageDraw, label: str, left: int, top: int, width: int) -> None:
    for number, line in enumerate(_wrapped(label, width)[:LINES]):
        pen.text((left, top + number * LINE), line, fill=INK, font=_font())


def _write_beside(pen: ImageDraw.ImageDraw, label: str, place: tuple[int, int, int, int]) -> None:
    """Write at half height of left, top, width, height, in as many lines as go there."""
    left, top, wide, high = place
    lines = _wrapped(label, wide)[: max(1, high // LINE)]
    for number, line in enumerate(lines):
        below = top + (high - len(lines) * LINE) // 2 + number * LINE
        pen.text((left, below), line, fill=INK, font=_font())


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines that fit; a word that does not fit by itself is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font().getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines += [_cut(word, width)]
    return [line for line in lines if line]


def _cut(word: str, width: int) -> str:
    """Shorten a word until it fits, with dots for what is gone."""
    length = _font().getlength(word)
    if length <= width:
        return word
    kept = word[: max(1, int(len(word) * width / length))]
    while len(kept) > 1 and _font().getlength(f"{kept}...") > width:
        kept = kept[:-1]
    return f"{kept}..."


def _png(sheet: Image.Image, note: tuple[str, str] | None = None) -> bytes:
    texts = PngImagePlugin.PngInfo()
    if note:
        texts.add_itxt(*note)
    out = io.BytesIO()
    sheet.save(out, "PNG", pnginfo=texts)
    return out.getvalue()
