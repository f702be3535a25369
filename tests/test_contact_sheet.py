import io
from pathlib import Path

import pytest
from PIL import Image

from core import contact_sheet
from core.contact_sheet import CELL, GAP, LABEL, LINE, Box, Cell, Sheet


def test_every_picture_stands_in_its_cell_in_order(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    cells = []
    for number, colour in enumerate(colours):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64 + 32 * number, 64), colour).save(path)
        cells.append(Cell(path, f"picture {number} with a label that is far too long for a cell"))
    sheet = Image.open(io.BytesIO(contact_sheet.make(cells, columns=3))).convert("RGB")
    height = CELL + contact_sheet.LINES * contact_sheet.LINE + 2 * GAP
    for number, colour in enumerate(colours):
        row, column = divmod(number, 3)
        x = GAP + column * (CELL + GAP) + CELL // 2
        y = GAP + row * height + CELL // 2
        assert sheet.getpixel((x, y)) == colour


def ink(sheet: Sheet, left: int, right: int) -> int:
    """How high the text is between two columns of pixels, in the middle of a grid's only row."""
    drawn = Image.open(io.BytesIO(contact_sheet.draw_grids([sheet]))).convert("L")
    part = drawn.crop((left, drawn.height - CELL, right, drawn.height - 2 * GAP))
    box = part.point(lambda tone: 255 * (tone < 128)).getbbox()
    return box[3] - box[1] if box else 0


@pytest.mark.parametrize(("words", "lines"), [(1, 1), (40, 4)])
def test_what_stands_beside_a_row_or_in_an_empty_box_is_told_to_its_end(
    words: int, lines: int
) -> None:
    text = " ".join(["word"] * words)
    sheet = Sheet((), ("",), (text,), (Box(None, text),))
    inside = LABEL + 2 * GAP
    for height in (ink(sheet, 0, inside - GAP), ink(sheet, inside, inside + CELL - 2 * GAP)):
        assert (lines - 1) * LINE < height
        assert lines > 1 or height < LINE
