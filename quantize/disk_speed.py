"""How fast a disk is: a short look, for estimates and for warnings.

Reading is measured on the source itself, past what the cache already has; writing on a small file
beside the target, which is gone afterwards. The clock is an argument.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from models.file_system import REMOTE, file_system

PIECE = 4 << 20  # bytes; what a conversion reads at a time
PIECES = 8
_TICK = 1e-9  # seconds; a clock may stand still for so long

Clock = Callable[[], float]


def read_speed(path: Path, clock: Clock) -> float:
    """Bytes a second, from pieces all over the file."""
    buffer = bytearray(PIECE)
    count, seconds = 0, 0.0
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for offset in range(0, size, max(PIECE, size // PIECES)):
            os.posix_fadvise(file.fileno(), offset, PIECE, os.POSIX_FADV_DONTNEED)
            started = clock()
            count += os.preadv(file.fileno(), [buffer], offset)
            seconds += clock() - started
    return count / max(seconds, _TICK)


def write_speed(folder: Path, clock: Clock) -> float:
    """Bytes a second to the disk itself, by writing and removing a small file."""
    data = os.urandom(PIECE)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        started = clock()
        for _ in range(PIECES):
            file.write(data)
        os.fsync(file.fileno())
        seconds = clock() - started
    return PIECE * PIECES / max(seconds, _TICK)


def remote(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The folders among these paths' that are another system's, and the kind of file system."""
    for folder in dict.fromkeys(existing_folder(path) for path in paths):
        kind = file_system(folder)
        if kind in REMOTE:
            yield folder, kind


def existing_folder(path: Path) -> Path:
    """The folder that a path lies in, or the next one above that exists."""
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    return folder
