import io
from pathlib import Path

from PIL import Image

from core import contact_sheet
from core.contact_sheet import CELL, GAP, Cell


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
