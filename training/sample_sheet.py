"""All sample pictures of a training on one: a row for each caption, a column for each lot."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training import png_file

CELL = 192
_HEAD, _SIDE, _GAP = 34, 230, 8
_MOST = 8  # columns; the first and the last are always among them
_FILE = re.compile(r"step-([0-9]+)-([0-9]+)\.png")


def draw(path: Path, folder: Path, captions: Sequence[str]) -> bool:
    """Write the sheet as PNG; whether there was anything to show.

    Raises:
        OSError: the disk refuses.
    """
    lots = _lots(folder)
    if not lots or not captions:
        return False
    steps = chosen(sorted(lots))
    width = _SIDE + len(steps) * (CELL + _GAP)
    sheet = Image.new("RGB", (width, _HEAD + len(captions) * (CELL + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, step in enumerate(steps):
        left = _SIDE + column * (CELL + _GAP)
        head = "base" if step == 0 else f"update {step:,}"
        pen.text((left, 10), head, (28, 32, 38), ImageFont.load_default(15))
        for number, file in lots[step].items():
            if number <= len(captions):
                sheet.paste(_cell(file), (left, _HEAD + (number - 1) * (CELL + _GAP)))
    for row, caption in enumerate(captions):
        _caption(pen, caption, _HEAD + row * (CELL + _GAP))
    png_file.write(path, sheet)
    return True


def chosen(steps: Sequence[int]) -> list[int]:
    """Return up to eight of them, evenly spread, the first and the last among them."""
    if len(steps) <= _MOST:
        return list(steps)
    return [steps[round(index * (len(steps) - 1) / (_MOST - 1))] for index in range(_MOST)]


def _lots(folder: Path) -> dict[int, dict[int, Path]]:
    lots: dict[int, dict[int, Path]] = {}
    for file in sorted(folder.glob("step-*.png")):
        if match := _FILE.fullmatch(file.name):
            lots.setdefault(int(match[1]), {})[int(match[2])] = file
    return lots


def _cell(file: Path) -> Image.Image:
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    smooth = Image.Resampling.LANCZOS if max(image.size) > CELL else Image.Resampling.NEAREST
    scale = CELL / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), smooth)


def _caption(pen: ImageDraw.ImageDraw, text: str, top: int) -> None:
    font, line, y = ImageFont.load_default(14), "", top + 4
    for word in text.split():
        longer = f"{line} {word}".strip()
        if pen.textlength(longer, font) > _SIDE - 20 and line:
            pen.text((6, y), line, (28, 32, 38), font)
            line, y = word, y + 18
        else:
            line = longer
        if y > top + CELL - 18:
            return
    pen.text((6, y), line, (28, 32, 38), font)
