"""The test sheet of a new LoRA: a grid of strengths and prompts, made the way of every picture.

A prompt file goes into the inbox; a running director makes it, and where none runs, one is started
that works off the inbox and ends. What is on the sheet is decided here, how it is drawn is not.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from configs.settings import Settings
from core.drop_folder import CLAIMED, FAILED
from core.job import ENDED, Job, State
from core.journal_file import JournalError, director_at
from core.records import Records
from core.training_record import Training
from models import store
from training.errors import TrainingError
from training.recipe import Preset
from training.run_plan import Plan

STRENGTHS = (0.0, 0.5, 1.0)
SEED = 7
_PAUSE = 0.5  # seconds between looks at the journal
_MOST_TRIES = 50

_PROMPTS = {
    Preset.CHARACTER: (
        "{trigger}, portrait photo, looking at the camera, soft window light",
        "{trigger} walking down a busy street at night, full body",
        "an oil painting of {trigger} in a garden",
    ),
    Preset.STYLE: (
        "a lighthouse on a cliff, {trigger}",
        "a portrait of an old woman, {trigger}",
        "a bowl of fruit on a table, {trigger}",
    ),
    Preset.CONCEPT: (
        "a photo of {trigger} on a wooden table",
        "{trigger} in the snow, mountains in the background",
        "a pencil drawing of {trigger}",
    ),
}
# What the small Flux understands: one thing on a plain background (models.micro.grammar).
_MICRO_THING = (
    "a large {trigger} on a white background",
    "a small {trigger} on a black background",
    "a large {trigger} on a blue background",
)
_MICRO_STYLE = (
    "a large red circle on a white background, {trigger}",
    "a large blue star on a black background, {trigger}",
    "a small green heart on a pink background, {trigger}",
)

StartDirector = Callable[[], int]
Pause = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A test sheet.

    Attributes:
        path: the grid; empty path if it was not drawn although its pictures were.
        pictures: its cells.
    """

    path: Path
    pictures: tuple[Path, ...]


def prompts(plan: Plan, *, is_micro: bool) -> tuple[str, ...]:
    """Return what the sheet shows."""
    micro = _MICRO_STYLE if plan.preset is Preset.STYLE else _MICRO_THING
    texts = micro if is_micro else _PROMPTS[plan.preset]
    return tuple(text.replace("{trigger}", plan.trigger) for text in texts)


def content(plan: Plan, *, is_micro: bool) -> bytes:
    """Return the prompt file."""
    shown = prompts(plan, is_micro=is_micro)
    keys = {
        "pair": plan.name,
        "prompt": shown[0],  # every file has one; the grid puts the others in its place
        "seed": SEED,
        "expand": "off",  # a trigger word may hold any sign
        "grid": {
            "lora.strength": list(STRENGTHS),
            "prompt": list(shown),
        },
    }
    return (json.dumps(keys, indent=1, ensure_ascii=False) + "\n").encode()


def ask(training: Training, text: bytes, settings: Settings) -> str:
    """Put the prompt file into the inbox, unless it is on its way or done; return its name.

    Raises:
        OSError: the inbox cannot be written.
        TrainingError: it was refused time and again.
    """
    for number in range(1, _MOST_TRIES):
        name = f"{training.name}-{training.id}-sheet{f'-{number}' if number > 1 else ''}.json"
        jobs = _jobs(settings.state, name)
        if any(job.state in (State.FAILED, State.CANCELLED) for job in jobs):
            continue  # an earlier try, which stays as it ended
        if _refusal(settings.folders.inbox, name):
            continue
        if not jobs and not _waits(settings.folders.inbox, name):
            store.atomic_write(settings.folders.inbox / name, text)
        return name
    fix = f"Look into {settings.folders.inbox / FAILED}"
    raise TrainingError("the test sheet was refused time and again", fix=fix)


def wait(name: str, settings: Settings, start: StartDirector, pause: Pause) -> None:
    """Wait until the sheet is there; start a director where none runs.

    Args:
        name: of its prompt file.
        settings: whose folders.
        start: runs a director until the inbox is worked off.
        pause: waits so many seconds; raises what ends the worker if somebody wants that.

    Raises:
        TrainingError: the director that was started did not make it.
    """
    while not _is_over(name, settings):
        pause(0)
        if director_at(settings.state) is not None:
            pause(_PAUSE)
            continue
        code = start()
        pause(0)
        if not _is_over(name, settings) and director_at(settings.state) is None:
            why = f"the director ended with {code}"
            fix = "The log has its words; the LoRA is paired and can be used"
            raise TrainingError("the test sheet was not drawn", why=why, fix=fix)


def made(name: str, settings: Settings) -> Sheet:
    """Return the sheet of a prompt file that is over.

    Raises:
        TrainingError: it was refused, or some of its pictures were not made.
    """
    jobs = _jobs(settings.state, name)
    if not jobs:
        why = _refusal(settings.folders.inbox, name) or "its prompt file is gone"
        raise TrainingError("the test sheet was not drawn", why=why, fix=_USABLE)
    bad = [job for job in jobs if job.state is not State.DONE]
    if bad:
        why = f"{len(bad)} of {len(jobs)} pictures: {bad[0].error or bad[0].state}"
        raise TrainingError("the test sheet was not drawn", why=why, fix=_USABLE)
    pictures = tuple(path for job in jobs for path in job.paths)
    return Sheet(_grid(settings.folders.outbox, jobs[0]), pictures)


_USABLE = "The LoRA is paired and can be used; going on draws the sheet again"


def _grid(outbox: Path, job: Job) -> Path:
    """Return the newest grid of a file's jobs."""
    stem = f"{job.name.rpartition('_')[0]}_grid"
    found = [path for path in (outbox / job.batch).glob("*.png") if path.stem.startswith(stem)]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=Path())


def _is_over(name: str, settings: Settings) -> bool:
    waits = _waits(settings.folders.inbox, name)  # first: a claim's jobs come before it leaves
    jobs = _jobs(settings.state, name)
    if not jobs:
        return not waits
    return all(job.state in ENDED for job in jobs) and not _waits(settings.folders.inbox, name)


def _waits(inbox: Path, name: str) -> bool:
    claimed = (inbox / CLAIMED).rglob("*") if (inbox / CLAIMED).is_dir() else ()
    return (inbox / name).exists() or any(path.name.endswith(name) for path in claimed)


def _jobs(state: Path, name: str) -> Sequence[Job]:
    try:
        with closing(Records.beside(state)) as records:
            return records.of_file(name)
    except (JournalError, sqlite3.DatabaseError):
        return ()  # it is being made at this moment


def _refusal(inbox: Path, name: str) -> str:
    """Return why the director did not take a file; empty if it did."""
    try:
        text = (inbox / FAILED / f"{name}.error.md").read_text(encoding="utf-8")
    except OSError:
        return ""
    paragraphs = [part.strip() for part in text.split("\n\n")]
    return " ".join((paragraphs[1:2] or paragraphs)[0].split()).rstrip(".")
