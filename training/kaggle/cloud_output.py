"""Brings a run's output into the run's folder here.

Names come from outside: one that leads out of the folder, or is none of a run's, is left out. A
file is written beside its place, checked, synced and renamed; a download that was cut goes on where
it stopped as long as it is the same file (Kaggle's package proves that by its ETag), and a file
that is here already is not fetched again. The package's own ``kernels_output`` reads every file
into memory and writes wherever a name points, so its ``download_file`` is used below it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from models import store
from training import progress
from training.errors import TrainingError
from training.kaggle import cloud_errors, patience
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.patience import Interrupted
from training.kaggle.values import Fetched, KernelReport, Want
from training.run_folder import RunFolder

REPORT = "vulcan-kernel.json"
FOLDER = "run"  # in the kernel's output
_NOTES = ".fetched.json"  # in the run's folder: what each file was when it was fetched
_SMALL = re.compile(r"(status|dataset|run)\.json|progress\.jsonl|loss\.png|samples/[^/]+\.png")
_LARGE = re.compile(r"sheet\.png|checkpoints/[^/]+\.(safetensors|json)|lora/[^/]+\.safetensors")
_MOST = 10_000  # files; a listing beyond is not one of ours
_PAGE = 100
_REPORT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Output:
    """One file of a listing: its name there, and a link for an hour or so."""

    name: str
    url: str


def fetch(account: Account, slug: str, run: RunFolder, want: Want) -> Fetched:
    """Bring the newest version's output here; Kaggle has one only when the run is over.

    Raises:
        CloudError: the Kaggle kernel is gone, Kaggle cannot be reached, or the LoRA is damaged.
        OSError: the disk refuses.
    """
    notes = _read_notes(run)
    files, listed = [], []
    report: KernelReport | None = None
    for output in _sorted(_listing(account, slug)):
        if output.name == REPORT:
            report = _report(account, output, run)
        elif name := wanted(output.name, want):
            listed.append(name)
            if _bring(account, output, run, name, notes):
                files.append(name)
                _write_notes(run, notes)
    _check_lora(run, files, notes)
    return Fetched(tuple(sorted(files)), tuple(sorted(listed)), report)


def wanted(name: str, want: Want) -> str:
    """Return a file's place in the run's folder, empty where it is not wanted or not safe.

    >>> wanted("run/samples/step-000250-1.png", Want.PROGRESS)
    'samples/step-000250-1.png'
    >>> wanted("run/../../.bashrc", Want.ALL)
    ''
    """
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or parts[0] != FOLDER or "/".join(parts) != name:
        return ""
    inner = "/".join(parts[1:])
    if any(part.startswith(".") for part in parts) or not re.fullmatch(r"[A-Za-z0-9._/-]+", inner):
        return ""
    if _SMALL.fullmatch(inner) or (want is Want.ALL and _LARGE.fullmatch(inner)):
        # The plan is ours: what the notebook ran is the same, or another run's.
        return "" if inner == "run.json" else inner
    return ""


def report_of(account: Account, slug: str, run: RunFolder) -> KernelReport | None:
    """Return what the notebook says of itself; None where it left nothing.

    Raises:
        CloudError: the Kaggle kernel is gone, or Kaggle cannot be reached.
    """
    for output in _listing(account, slug):
        if output.name == REPORT:
            return _report(account, output, run)
    return None


def _sorted(outputs: Iterator[_Output]) -> list[_Output]:
    """The status comes last: what it speaks of is here then."""
    return sorted(outputs, key=lambda one: (one.name == f"{FOLDER}/status.json", one.name))


def _listing(account: Account, slug: str) -> Iterator[_Output]:
    token, count = "", 0
    while True:
        answer = account.ask("listing the run's output", partial(_page, account, slug, token))
        for file in answer.files or []:
            yield _Output(str(file.file_name), str(file.url))
            count += 1
        token = answer.next_page_token
        if not token or count > _MOST:
            return


def _page(account: Account, slug: str, token: str) -> Any:
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = account.user, slug
    request.page_size, request.page_token = _PAGE, token
    try:
        with account.api.build_kaggle_client() as client:
            return client.kernels.kernels_api_client.list_kernel_session_output(request)
    except Exception as error:
        if patience.status_of(error) in (403, 404):
            words = patience.words_of(error)
            raise cloud_errors.gone("listing the run's output", words) from error
        raise


def _bring(
    account: Account, output: _Output, run: RunFolder, name: str, notes: dict[str, str]
) -> bool:
    """Fetch one file; False where it is here already."""
    target = run.path / name
    part = target.with_name(f".{target.name}.part")
    seen = account.ask(f"fetching {name}", lambda: _download(account, output, part, target, notes))
    if not seen:
        return False
    store.publish(part, target)
    notes[name] = seen
    return True


def _download(
    account: Account, output: _Output, part: Path, target: Path, notes: dict[str, str]
) -> str:
    """Download into ``part``; return what the file is known by, empty where it is here already."""
    import requests

    limits = (account.patience.connect, account.patience.silence)
    with requests.get(output.url, stream=True, timeout=limits) as response:
        response.raise_for_status()
        headers = response.headers
        seen = f"{headers.get('ETag', '')} {headers.get('Content-Length', '')}".strip()
        name = output.name.removeprefix(f"{FOLDER}/")
        if headers.get("ETag") and notes.get(name) == seen and target.is_file():
            return ""
        try:
            # One attempt, which leaves what came; the next one goes on with it.
            account.api.download_file(response, str(part), None, resume=True, max_retries=0)
        except ValueError as error:  # shorter than was told
            raise Interrupted("a file comes in short") from error
    return seen or "unknown"


def _report(account: Account, output: _Output, run: RunFolder) -> KernelReport | None:
    """Read the notebook's report; one that is damaged is none."""
    part = run.path / f".{REPORT}.part"
    account.ask("fetching the run's report", lambda: _download(account, output, part, part, {}))
    try:
        with part.open("rb") as file:
            table: Any = json.loads(file.read(_REPORT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        part.unlink(missing_ok=True)
    if not isinstance(table, dict):
        return None
    code, why, fix = (" ".join(str(table.get(key) or "").split()) for key in ("code", "why", "fix"))
    return KernelReport(table.get("state") == "refused", code, why.rstrip("."), fix.rstrip("."))


def _check_lora(run: RunFolder, files: list[str], notes: dict[str, str]) -> None:
    """Compare a fetched LoRA with the hash that the trainer wrote down.

    Raises:
        CloudError: they differ; the file is removed, so that the next call fetches it anew.
    """
    status = _status(run)
    if status is None or status.lora not in files or not status.sha256:
        return
    path = run.path / status.lora
    if store.sha256(path) != status.sha256:
        path.unlink()
        del notes[status.lora]
        _write_notes(run, notes)
        raise CloudError(
            Trouble.NETWORK,
            f"{status.lora} came from Kaggle damaged",
            why="its SHA-256 is not the one in status.json; it was removed",
            fix=cloud_errors.AGAIN,
        )


def _status(run: RunFolder) -> progress.Status | None:
    try:
        return progress.read_status(run.status)
    except TrainingError:
        return None


def _read_notes(run: RunFolder) -> dict[str, str]:
    """Return what was fetched before; damaged notes are none, they only ever save time."""
    try:
        table: Any = json.loads((run.path / _NOTES).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(table[key]) for key in table} if isinstance(table, dict) else {}


def _write_notes(run: RunFolder, notes: dict[str, str]) -> None:
    store.atomic_write(run.path / _NOTES, json.dumps(notes, indent=1).encode())
