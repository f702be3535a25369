"""Pictures: pixels to PNG, and under which name a PNG is saved.

Pixels are ComfyUI's IMAGE: float32, shape (batch, height, width, 3), 0 to 1. Names follow
ComfyUI: ``prefix_00001_.png`` with the next free number of the folder, subfolders taken from the
prefix, never outside the root. Does not know where pixels come from.
"""

import io
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from host.errors import RenderError
from host.folders import inside
from models.store import atomic_write

Pixels = npt.NDArray[np.float32]

_ROWS = 256  # that are rounded at a time
SAVE_LEVEL = 4
"""zlib level for results: ComfyUI's, a good trade between size and time."""

TEMP_LEVEL = 1
"""zlib level for what is shown once."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for the next pictures of a prefix.

    Attributes:
        folder: existing or not, below the root.
        subfolder: the same relative to the root, as clients hand it back to ``/view``.
        name: file name before the number.
        counter: the first free number.
    """

    folder: Path
    subfolder: str
    name: str
    counter: int

    def filename(self, index: int) -> str:
        """Return the file name of picture ``index`` of a batch."""
        stem = self.name.replace("%batch_num%", str(index))
        return f"{stem}_{self.counter + index:05}_.png"


def blank(width: int, height: int, batch: int, color: int) -> Pixels:
    """Return pictures of one colour, given as 0xRRGGBB."""
    rgb = np.array([color >> 16 & 0xFF, color >> 8 & 0xFF, color & 0xFF], np.float32) / 255
    return np.broadcast_to(rgb, (batch, height, width, 3))


def multiple_inside(side: int, multiple: int) -> slice:
    """Return the middle of a side, cut to a multiple of so many pixels."""
    start = side % multiple // 2
    return slice(start, start + side // multiple * multiple)


def to_bytes(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Return pixels as 0 to 255, rounded down as ComfyUI does it. NaN becomes black.

    Some rows at a time: three copies in float32 of a picture of 16384 x 16384 are 10 GB.
    """
    made = np.empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        made[rows] = np.clip(np.nan_to_num(255.0 * pixels[rows]), 0, 255)
    return made


def to_png(pixels: Pixels, text: Mapping[str, str], *, level: int = SAVE_LEVEL) -> bytes:
    """Return one picture (height, width, 3) as a PNG file with these text chunks, in order."""
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_text(key, value)
    buffer = io.BytesIO()
    picture = Image.fromarray(to_bytes(pixels))
    picture.save(buffer, "PNG", pnginfo=chunks, compress_level=level)
    return buffer.getvalue()


def text_chunks(graph: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, str]:
    """Return what a picture says of its making: the graph, then whatever the client added.

    Raises:
        RenderError: something that the client added has a name that no PNG can hold.
    """
    for key in extra:
        if not (0 < len(key) < 80 and key.isprintable() and max(key) <= "\xff"):
            raise RenderError(
                f"extra_pnginfo has the key {key[:80]!r}, which is no name of a PNG's text chunk",
                fix="Use 1 to 79 printable characters of Latin-1",
            )
    return {"prompt": json.dumps(graph), **{key: json.dumps(value) for key, value in extra.items()}}


def expand(prefix: str, width: int, height: int, when: float) -> str:
    """Fill in ``%width%``, ``%height%``, ``%year%`` ... ``%second%``; anything else is left."""
    moment = time.localtime(when)
    values = {"width": str(width), "height": str(height), "year": str(moment.tm_year)}
    for name in ("month", "day", "hour", "minute", "second"):
        values[name] = f"{_clock_field(moment, name):02}"
    return re.sub(
        "%(width|height|year|month|day|hour|minute|second)%", lambda hit: values[hit[1]], prefix
    )


def _clock_field(moment: time.struct_time, name: str) -> int:
    short = {"month": "tm_mon", "day": "tm_mday", "minute": "tm_min", "second": "tm_sec"}
    return int(getattr(moment, short.get(name, f"tm_{name}")))


def find_slot(root: Path, prefix: str) -> Slot:
    """Return where pictures of this prefix go next.

    Args:
        root: the folder that nothing may leave.
        prefix: already expanded, with ``/`` for subfolders.

    Raises:
        RenderError: the prefix leads out of ``root``.
    """
    path = inside(root, os.path.normpath(prefix) if prefix else "ComfyUI")
    if path is None or path == root or not _is_text(prefix):
        raise RenderError(
            "Saving image outside the output folder is not allowed",
            why=f"filename_prefix is {prefix!r}",
            fix="Use a name with subfolders below the output folder",
        )
    subfolder = path.parent.relative_to(os.path.normpath(root)).as_posix()
    subfolder = "" if subfolder == "." else subfolder
    return Slot(path.parent, subfolder, path.name, _next_number(path.parent, path.name))


def _is_text(name: str) -> bool:
    """Return whether a file can have this name: JSON may hold what UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _next_number(folder: Path, name: str) -> int:
    try:
        taken = os.listdir(folder)  # noqa: PTH208 - names only; Path objects cost 3x as much here
    except FileNotFoundError:
        return 1
    lead = f"{name}_"
    digits = (entry[len(lead) :].split("_")[0] for entry in taken if entry.startswith(lead))
    numbers = (int(digit) for digit in digits if digit.isascii() and digit.isdigit())
    return max(numbers, default=0) + 1


def save(
    root: Path, prefix: str, batch: Pixels, text: Mapping[str, str], *, when: float, level: int
) -> list[tuple[Path, dict[str, str]]]:
    """Save a batch below ``root``; return each path with its filename and subfolder.

    Raises:
        RenderError: the prefix leads out of ``root``, or the disk refuses.
    """
    height, width = batch.shape[1:3]
    slot = find_slot(root, expand(prefix, width, height, when))
    saved: list[tuple[Path, dict[str, str]]] = []
    for index, pixels in enumerate(batch):
        name = slot.filename(index)
        try:
            atomic_write(slot.folder / name, to_png(pixels, text, level=level))
        except OSError as error:
            why = error.strerror or str(error)
            raise RenderError(
                "the picture could not be saved", path=slot.folder, why=why
            ) from error
        saved.append((slot.folder / name, {"filename": name, "subfolder": slot.subfolder}))
    return saved
