"""Making a picture again: ask for it through the drop folder, wait, and say what differs.

It goes the way of every job, so it survives whatever a job survives. Where a director runs, that
one makes it; where none does, one is started that works off the inbox and ends.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import InputImage, Request
from configs.settings import Settings
from core import comparison, original, prepare, rerun_prompt
from core.comparison import Finding, Here
from core.drop_folder import CLAIMED, DONE, FAILED
from core.job import ENDED, Job, State
from core.journal_file import JournalError, director_at
from core.original import Original
from core.pair_state import Sight
from core.pixel_difference import Difference
from core.provenance import Hashes, workflow_sha256
from core.record import RecordError
from core.records import Records
from models import store
from models.errors import ModelError
from models.pair_shelf import PairShelf
from models.pairing import Pair
from models.store import Folder

PAUSE = 0.2  # seconds between looks at the journal
ROUNDING = 2  # steps of 255 that another order of the same sums may cost
LONGEST_STEM = 120  # bytes; file systems take 255 for the whole name
KEPT_INPUTS = "input"  # in the state folder: input pictures by their sha256
StartDirector = Callable[[], int]


class RerunError(Exception):
    """A picture that could not be made again; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one picture.

    Attributes:
        original: the picture that was named.
        path: the new one.
        difference: between their pixels.
        findings: what is as it was and what is not.
    """

    original: Path
    path: Path
    difference: Difference
    findings: Sequence[Finding]


def look(picture: Original, settings: Settings) -> list[Finding]:
    """Compare what a picture was made with to the files that are here now."""
    request = picture.record.request
    pair = _pair(request, settings)

    def known(folder: Folder, names: Sequence[str]) -> dict[str, str]:
        return {name: _hash_of(settings, pair, folder, name) for name in names}

    hashes = Hashes(
        unet=_unet_hash(settings, pair),
        loras=known(Folder.LORAS, [lora.file for lora in request.loras]),
        text_encoders=known(Folder.TEXT_ENCODERS, request.text_encoders),
        vae=known(Folder.VAE, [request.vae]),
    )
    return comparison.with_files(
        picture.record, Here(hashes, _workflow_hash(settings.folders.workflows, request.workflow))
    )


def _pair(request: Request, settings: Settings) -> Pair | None:
    """Return the pair that would be used now: the request's if it is here, else the usual one."""
    shelf = PairShelf(settings.folders.models)
    for name in (request.pair, settings.pair):
        if name in shelf.names():
            return shelf.load(name)
    return None


def _unet_hash(settings: Settings, pair: Pair | None) -> str:
    if pair:
        return _hash_of(settings, pair, Folder.UNET, pair.unet)
    unet = prepare.unet_path(settings)
    return store.cached_sha256(unet, settings.state / prepare.HASHES) if unet.is_file() else ""


def _hash_of(settings: Settings, pair: Pair | None, folder: Folder, name: str) -> str:
    """Return a file's hash as it is now, in the pair's folders or in the usual ones."""
    sight = Sight(settings.folders.models, None)
    for file in pair.files if pair else ():
        if (file.folder, file.file) == (folder, name) and not file.is_hosts_own:
            try:
                return store.cached_sha256(sight.path(file), settings.state / prepare.HASHES)
            except ModelError:
                return ""
    return prepare.hash_of(settings, folder, name)


def ask(picture: Original, settings: Settings) -> str:
    """Put the prompt file into the inbox and return its name.

    Raises:
        RerunError: its workflow or input picture is not here.
        OSError: the inbox cannot be written.
    """
    request = picture.record.request
    try:
        template = workflow.named(settings.folders.workflows, request.workflow)
    except WorkflowError as error:
        raise RerunError(f"{picture.path}: {error}") from error
    pair = _pair(request, settings)
    named = pair.name if pair and pair.name != settings.pair else ""
    text = rerun_prompt.content(request, template, named)
    image = None
    if request.image:
        image = _input_picture(request.image, picture.path, settings.state)
    inbox = settings.folders.inbox

    def taken(name: str) -> bool:
        known = _job(settings.state, name) is not None
        return known or any((inbox / place / name).exists() for place in ("", DONE, FAILED))

    return rerun_prompt.drop(inbox, _stem(picture.path), text, image, taken)


def wait(names: Sequence[str], settings: Settings, start_director: StartDirector) -> None:
    """Wait until every file's job has ended; start a director whenever none runs.

    Raises:
        RerunError: the director that was started ended without having made them.
    """
    while _waiting(names, settings):
        if director_at(settings.state) is not None:
            time.sleep(PAUSE)
            continue
        code = start_director()
        waiting = _waiting(names, settings)
        if waiting and director_at(settings.state) is None:
            raise RerunError(
                f"the director ended with {code} before {', '.join(waiting)} was made; it stays in "
                f"{settings.folders.inbox} for the next run"
            )


def judge(picture: Original, name: str, before: Sequence[Finding], settings: Settings) -> Result:
    """Compare the picture with the one that was made again.

    Raises:
        RerunError: it was not made; with the director's reason.
    """
    from core import pixel_difference  # Pillow: only this command compares pixels

    made = _made(picture, name, settings)
    try:
        again = original.load(made)
    except RecordError as error:
        raise RerunError(str(error)) from error
    difference = pixel_difference.compare(picture.content, again.content)
    after = comparison.with_record(picture.record, again.record)
    return Result(picture.path, made, difference, comparison.merged(before, after))


def causes(result: Result) -> str:
    """Say why the pixels may differ, the likeliest cause first."""
    if found := comparison.causes(result.findings):
        return ", ".join(found)
    largest = result.difference.largest
    if 0 < largest <= ROUNDING:
        return (
            "rounding: nothing known differs, and the difference is that of a device's arithmetic"
        )
    return (
        "nothing that was recorded differs: look at the host's start options (attention, "
        "precision), its drivers, and nodes it has beside its own"
    )


def _made(picture: Original, name: str, settings: Settings) -> Path:
    """Return the new picture: of several of one job the one of the same number."""
    job = _job(settings.state, name)
    if job is None:
        raise RerunError(f"{picture.path}: {_refusal(settings.folders.inbox, name)}")
    if job.state is not State.DONE:
        raise RerunError(f"{picture.path}: making it again {job.state}: {job.error}")
    number = picture.record.place.number
    if number > len(job.paths):
        raise RerunError(
            f"{picture.path}: it was number {number} of its job, which now made {len(job.paths)}"
        )
    return job.paths[number - 1]


def _waiting(names: Sequence[str], settings: Settings) -> list[str]:
    return [name for name in names if not _is_over(name, settings)]


def _is_over(name: str, settings: Settings) -> bool:
    inbox = settings.folders.inbox
    waits = (inbox / name).exists()
    waits = waits or any(path.name.endswith(name) for path in (inbox / CLAIMED).rglob("*"))
    job = _job(settings.state, name)  # last: a claim leaves its folder after this
    return job.state in ENDED if job else not waits


def _job(state: Path, file: str) -> Job | None:
    """Return the job of a prompt file; ``None`` while the journal has none, or cannot be read."""
    try:
        with closing(Records.beside(state)) as records:
            jobs = records.of_file(file)
    except (JournalError, sqlite3.DatabaseError):
        return None  # being made at this moment, or damaged, of which its director will tell
    return jobs[-1] if jobs else None


def _error_file(inbox: Path, name: str) -> Path:
    return inbox / FAILED / f"{name}.error.md"


def _refusal(inbox: Path, name: str) -> str:
    try:
        text = _error_file(inbox, name).read_text(encoding="utf-8")
    except OSError:
        return f"{name} is gone from {inbox}, and the journal does not know it"
    paragraphs = [part.strip() for part in text.split("\n\n")]
    return "the director did not take it: " + " ".join(paragraphs[1:2] or paragraphs)


def _input_picture(image: InputImage, picture: Path, state: Path) -> Path:
    """Find the picture it started from: the copy that was kept, or one beside the picture."""
    kept, beside = state / KEPT_INPUTS, picture.parent / Path(image.name).name
    copies = [path for path in kept.glob("*") if path.stem == image.sha256]
    for path in [*copies, beside]:
        if path.is_file() and store.sha256(path) == image.sha256:
            return path
    raise RerunError(
        f"{picture}: it started from {image.name}, which is not here; put that picture beside it "
        f"(its sha256 is {image.sha256})"
    )


def _stem(path: Path) -> str:
    """Return a stem that a drop folder takes: not hidden, and with room for what is added."""
    undated = re.sub(r"^\d{4}-\d\d-\d\d_", "", path.stem)  # the new picture gets its own day
    stem = undated.lstrip(".").encode()[:LONGEST_STEM].decode(errors="ignore")
    return stem or "picture"


def _workflow_hash(folder: Path, name: str) -> str:
    try:
        return workflow_sha256(workflow.named(folder, name))
    except WorkflowError:
        return ""
