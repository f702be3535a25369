"""``director.py quantize``: a Flux file becomes a GGUF, with a bar or with JSON lines.

The quantiser (and numpy with it) is loaded only here, so the director proper stays small.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
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

from core.prepare import target_name
from models.tensor_types import FileType
from quantize.errors import Problem, QuantizeError

if TYPE_CHECKING:
    from quantize.convert import Progress as Step

REPORT_EVERY = 0.2  # seconds between JSON lines


def run(arguments: argparse.Namespace) -> int:
    """Convert; an existing target is kept unless ``--force``.

    Raises:
        QuantizeError, ModelError: the source cannot be used or the target not be written.
    """
    from quantize import convert  # brings numpy

    file_type = _file_type(arguments.type)
    source: Path = arguments.source
    target = arguments.target or source.with_name(target_name(source, file_type.name))
    if target.exists() and not arguments.force:
        _say(arguments.json, event="kept", target=str(target))
        return 0
    started = time.monotonic()
    plan = convert.plan(source, target, file_type)
    steps = convert.run(plan, workers=os.cpu_count() or 1, force=arguments.force)
    (_follow_json if arguments.json else _follow_bar)(steps, source.name)
    seconds = time.monotonic() - started
    _say(
        arguments.json,
        event="done",
        target=str(target),
        bytes=target.stat().st_size,
        source_bytes=source.stat().st_size,
        tensors=len(plan.tensors),
        seconds=round(seconds, 3),
    )
    return 0


def _file_type(name: str) -> FileType:
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


def _follow_json(steps: Iterator["Step"], _name: str) -> None:
    said = 0.0
    for step in steps:
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            share = step.weights_done / max(1, step.weights_total)
            _say(True, event="progress", share=round(share, 4), tensor=step.tensor)


def _follow_bar(steps: Iterator["Step"], name: str) -> None:
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
