"""What a training tells while it runs: a line of JSON for each event, and where it stands.

``progress.jsonl`` is only ever appended to, by one process at a time; a line that a kill cut short
is skipped by readers. ``status.json`` is replaced as a whole. Both are read by the command line, on
the machine that trains or on what was fetched from it, so nothing in them names a path outside the
run's folder. Clocks come in as arguments.
"""

import json
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models import store
from training.errors import TrainingError


class Stage(StrEnum):
    """The stages of a training, in their order."""

    VALIDATE = "validate"
    ENCODE = "encode"
    TRAIN = "train"
    EXPORT = "export"


class State(StrEnum):
    """Where a training stands."""

    RUNNING = "running"
    PAUSED = "paused"  # at its time limit, or told to stop: the same call goes on
    DONE = "done"
    FAILED = "failed"


class Happened(StrEnum):
    """Kinds of events."""

    STAGE = "stage"  # a stage begins
    STEP = "step"  # some updates were made
    SKIP = "skip"  # an update was left out: its gradient was not finite
    CHECKPOINT = "checkpoint"
    SAMPLE = "sample"  # `file` is a picture
    NOTE = "note"  # `text` is to be shown
    END = "end"  # this process ends; `text` says why


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(_Value):
    """One event; what does not apply is 0 or empty.

    Attributes:
        event: what happened.
        at: when, seconds since the epoch.
        stage: in which stage.
        step: updates (or pictures, while encoding) done.
        steps: of so many.
        loss: mean since the last such event.
        rate: learning rate.
        seconds: of one update, mean since this process began.
        vram: most bytes of the card's memory so far.
        file: of a sample, relative to the run's folder.
        text: of a note, or why it ended.
    """

    event: Happened
    at: float
    stage: Stage
    step: int = 0
    steps: int = 0
    loss: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    vram: int = 0
    file: str = ""
    text: str = ""


class Status(_Value):
    """Where a training stands.

    Attributes:
        state: running, paused, done or failed.
        stage: in which stage.
        step: updates (or pictures) done.
        steps: of so many.
        text: why it paused or failed, as a sentence.
        lora: the finished LoRA, relative to the run's folder.
        sha256: of the finished LoRA.
    """

    state: State
    stage: Stage
    step: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    text: str = ""
    lora: str = ""
    sha256: str = ""


def write_status(path: Path, status: Status) -> None:
    """Replace the status.

    Raises:
        OSError: the disk refuses.
    """
    store.atomic_write(path, status.model_dump_json(indent=1).encode())


def read_status(path: Path) -> Status | None:
    """Read the status; None where there is none yet.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        return Status.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise TrainingError("cannot be read", path=path, why=str(error)) from error


class Journalist:
    """Appends events to ``progress.jsonl``, each as soon as it happens."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8")
        if self._file.tell():
            _end_the_line(path, self._file)

    def tell(self, event: Event) -> None:
        """Append one event."""
        self._file.write(event.model_dump_json(exclude_defaults=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Sync and close the file."""
        os.fsync(self._file.fileno())
        self._file.close()


def _end_the_line(path: Path, file: TextIO) -> None:
    """A kill may have cut the last line short: the next one begins a line of its own."""
    with path.open("rb") as before:
        before.seek(-1, os.SEEK_END)
        if before.read(1) != b"\n":
            file.write("\n")


def read(path: Path, skip: int = 0) -> Iterator[Event]:
    """Yield the events of a file, without the first ``skip`` lines; none if there is no file."""
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines()[skip:]:
        if event := parse(line):
            yield event


def parse(line: str) -> Event | None:
    """Read one line; None for one that is damaged or of another kind."""
    try:
        table: Any = json.loads(line)
        return Event.model_validate(table)
    except (ValueError, RecursionError):
        return None
