"""The doctor on disks: how fast files are read and written, measured on a small sample.

Windows' drives come to WSL over 9p, at a fraction of the disk's speed: 24 GB then take minutes
instead of seconds (microsoft/WSL#4197). What is measured is a real file of ours, with the page
cache asked to forget it first. Each sample ends by itself after :data:`SECONDS`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from bridge.finding import Finding, fine, note, warning
from models.file_system import REMOTE, file_system

MB = 1 << 20
SECONDS = 0.6  # for one sample; two are taken at most
MOST = 64 * MB
SLOW = 300 * MB  # bytes per second; 9p gives 90 to 250, any SSD more

Clock = Callable[[], float]


def reading(file: Path, clock: Clock) -> Iterator[Finding]:
    """Measure how fast a model file is read; a file that is not there is not measured."""
    try:
        remote = file_system(file) in REMOTE
        speed, size = read_speed(file, clock), file.stat().st_size
    except OSError:
        return
    if speed is None:
        return
    told = (
        f"{file.parent} is read at {speed / MB:,.0f} MB/s: {file.name} takes {size / speed:.1f} s"
    )
    if speed >= SLOW:
        yield fine("disk.reading", told)
    elif remote:
        yield warning(
            "disk.reading",
            told,
            "Windows' drives are slow from Linux; quantising and the embedded host read it all",
            "quantise on a Linux disk (~/) and copy the result once to ComfyUI's models\\unet on "
            "Windows; ComfyUI itself reads its own drive at full speed",
        )
    else:
        yield note("disk.reading", told, "the first picture waits for it", "use a faster disk")


def writing(folder: Path, clock: Clock) -> Iterator[Finding]:
    """Measure how fast a folder on another system's drive is written; local ones are not."""
    try:
        if file_system(folder) not in REMOTE:
            return
        speed = write_speed(folder, clock)
    except OSError:
        return
    told = f"{folder} is written at {speed / MB:,.1f} MB/s"
    if speed >= 10 * MB:  # a picture of a megapixel has 1.5 MB
        yield fine("disk.writing", told)
        return
    yield warning(
        "disk.writing",
        told,
        "filing a picture takes longer than it should",
        "set folders.outbox to a folder on a Linux disk; Windows sees it as "
        "\\\\wsl.localhost\\DISTRIBUTION\\...",
    )


def read_speed(file: Path, clock: Clock) -> float | None:
    """Return bytes per second, ``None`` for a file too small to tell anything."""
    with file.open("rb", buffering=0) as opened:
        with suppress(OSError):
            os.posix_fadvise(opened.fileno(), 0, MOST, os.POSIX_FADV_DONTNEED)
        started, done = clock(), 0
        while done < MOST and clock() - started < SECONDS and (part := opened.read(MB)):
            done += len(part)
    return done / max(clock() - started, 1e-6) if done >= MB else None


def write_speed(folder: Path, clock: Clock) -> float:
    """Return bytes per second of a synced write; the sample is deleted."""
    scrap = folder / f".vulcan-doctor-speed-{os.getpid()}.part"
    part = os.urandom(MB)  # zeros might not be written at all
    started, done = clock(), 0
    try:
        with scrap.open("wb", buffering=0) as opened:
            while done < 16 * MB and clock() - started < SECONDS:
                done += opened.write(part)
            os.fsync(opened.fileno())
        return done / max(clock() - started, 1e-6)
    finally:
        scrap.unlink(missing_ok=True)
