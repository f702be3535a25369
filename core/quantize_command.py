"""``director.py quantize``: a Flux or a T5 becomes a GGUF, with a bar or with JSON lines.

The quantiser (and numpy with it) is loaded only here, so the director proper stays small.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from core import dry_run
from core.prepare import target_name
from models.tensor_types import FileType
from quantize import overrides
from quantize.errors import Problem, QuantizeError

if TYPE_CHECKING:
    from quantize.convert import ConversionPlan
    from quantize.convert import Progress as Step

REPORT_EVERY = 0.2  # seconds between JSON lines
_COPY = "a folder on a Linux disk, such as one in your home, is several times as fast"


def run(arguments: argparse.Namespace) -> int:
    """Convert; an existing target is kept unless ``--force``.

    Raises:
        QuantizeError, ModelError: the source cannot be used or the target not be written.
    """
    from quantize import convert  # brings numpy

    file_type = file_type_of(arguments.type)
    target = arguments.target or _default_target(arguments.source, file_type.name)
    if target.exists() and not (arguments.force or arguments.dry_run):
        _say(arguments.json, event="kept", target=str(target))
        return 0
    started = time.monotonic()
    plan = convert.plan(
        arguments.source,
        target,
        file_type,
        overrides=[overrides.parse(wish) for wish in arguments.tensor_type],
        by_name=arguments.sorted,
    )
    if arguments.dry_run:
        return _dry_run(plan, arguments.json)
    _tell(plan, arguments.json)
    steps = convert.run(plan, workers=os.cpu_count() or 1, force=arguments.force)
    with tidy_when_terminated(), closing(steps):
        (follow_json if arguments.json else follow_bar)(steps, arguments.source.name)
    _say(
        arguments.json,
        event="done",
        target=str(target),
        bytes=target.stat().st_size,
        source_bytes=plan.source_bytes,
        tensors=len(plan.tensors),
        seconds=round(time.monotonic() - started, 3),
    )
    return 0


@contextmanager
def tidy_when_terminated() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: without gigabytes of a half-made file left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _default_target(source: Path, file_type: str) -> Path:
    """Beside the file or the folder that the model is in."""
    place = source.resolve() if source.is_dir() else source
    return place.with_name(target_name(source, file_type))


def _dry_run(plan: "ConversionPlan", as_json: bool) -> int:
    from quantize import estimate

    found = estimate.estimate(
        plan,
        workers=os.cpu_count() or 1,
        clock=time.monotonic,
        processor_clock=time.thread_time,
    )
    dry_run.report(plan, found, as_json)
    return 0


def _tell(plan: "ConversionPlan", as_json: bool) -> None:
    """Say beforehand what the user may want to know, on stderr or as JSON."""
    for note in (*plan.notes, *slow_places(plan)):
        if as_json:
            print(json.dumps({"event": "note", "text": note}), flush=True)
        else:
            print(f"note: {note}", file=sys.stderr)


def slow_places(plan: "ConversionPlan") -> Iterator[str]:
    """Warn of Windows' drives and the network's, with the speed that they have now."""
    from quantize import disk_speed

    for folder, kind in disk_speed.remote(plan.files):
        inside = next(path for path in plan.files if disk_speed.existing_folder(path) == folder)
        speed = disk_speed.read_speed(inside, time.monotonic)
        yield f"{folder} lies on {kind} and reads at {speed / 1e6:,.0f} MB/s: {_COPY}"
    for folder, kind in disk_speed.remote([plan.target]):
        speed = disk_speed.write_speed(folder, time.monotonic)
        yield f"{folder} lies on {kind} and takes {speed / 1e6:,.0f} MB/s: {_COPY}"


def file_type_of(name: str) -> FileType:
    """The file type of a name; QuantizeError if there is none."""
    try:
        return FileType[name.upper()]
    except KeyError as error:
        known = ", ".join(kind.name for kind in FileType)
        raise QuantizeError(
            Problem.BAD_TYPE, f"there is no file type {name}", fix=f"Choose one of {known}"
        ) from error


def _say(as_json: bool, **event: Any) -> None:
    if as_json:
        print(json.dumps(event), flush=True)
    elif event["event"] == "kept":
        print(f"{event['target']} exists and is kept; --force replaces it")
    else:
        saved = 1 - event["bytes"] / event["source_bytes"]
        print(
            f"{event['target']}: {event['bytes'] / 1e6:,.1f} MB, {saved:.1%} smaller, "
            f"{event['tensors']} tensors in {event['seconds']:.1f} s"
        )


def follow_json(steps: Iterable["Step"], _name: str) -> None:
    """Show steps as JSON lines, a few a second."""
    said = 0.0
    for step in steps:
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            share = step.weights_done / max(1, step.weights_total)
            _say(True, event="progress", share=round(share, 4), tensor=step.tensor)


def follow_bar(steps: Iterable["Step"], name: str) -> None:
    """Show steps as a bar, on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        for step in steps:
            bar.update(task, completed=step.bytes_written, total=step.bytes_total)
