"""Brings a package's data set to Kaggle, as a private one, once.

What is there is told by the name of one file in it (``vulcan-HASH.json``), so that a call after
any interruption finds out by itself whether to make the data set, a new version of it, or nothing.
Old versions are deleted: a picture that was taken out is gone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from training.kaggle import cloud_errors, patience
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.cloud_package import marker
from training.kaggle.values import Package

_PAGE = 200  # files asked for at once


class Sent(StrEnum):
    """What an upload did."""

    NOTHING = "nothing"  # it was there already
    CREATED = "created"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long Kaggle may process a data set.

    Attributes:
        longest: seconds.
        pauses: seconds between questions, first and last.
        clock: seconds, growing.
    """

    longest: float = 1800.0
    pauses: tuple[float, float] = (2.0, 20.0)
    clock: Callable[[], float] = field(default=time.monotonic)


def upload(account: Account, package: Package, waiting: Waiting | None = None) -> Sent:
    """Bring the data set there, and wait until a notebook can use it.

    Raises:
        CloudError: Kaggle refuses it, is not ready in time, or cannot be reached.
    """
    waiting = waiting or Waiting()
    doing = f"uploading the data set {package.dataset_slug}"
    if exists(account, package):
        _wait(account, package, waiting)  # a version that is being processed lists no files yet
    due = account.ask(doing, lambda: _due(account, package))
    if due is not Sent.NOTHING:
        account.ask(doing, lambda: _send(account, package, due))
        _wait(account, package, waiting)
    return due


def exists(account: Account, package: Package) -> bool:
    """Tell whether this account has the data set.

    Raises:
        CloudError: Kaggle cannot be reached.
    """
    doing = f"looking for the data set {package.dataset_slug}"
    return account.ask(doing, lambda: _status(account, package)) != ""


def _due(account: Account, package: Package) -> Sent:
    if not _status(account, package):
        return Sent.CREATED
    return Sent.NOTHING if marker(package.content) in _listed(account, package) else Sent.VERSION


def _send(account: Account, package: Package, due: Sent) -> None:
    """Send it, unless an attempt before this one arrived though its answer did not."""
    folder = str(package.dataset)
    status = _status(account, package)
    if due is Sent.CREATED:
        if status:
            return
        answer = account.api.dataset_create_new(folder, public=False, quiet=True)
    else:
        if status != "ready" or marker(package.content) in _listed(account, package):
            return
        note = f"content {package.content[:12]}"
        answer = account.api.dataset_create_version(
            folder, note, quiet=True, delete_old_versions=True
        )
    if answer.error or str(answer.status).lower() == "error":
        raise _refused(str(answer.error or "no reason given"))


def _refused(words: str) -> CloudError:
    if "already in use" in words or "title" in words.lower():
        return cloud_errors.clash(words)
    return CloudError(Trouble.FAILED, "Kaggle refuses the data set", why=words)


def _wait(account: Account, package: Package, waiting: Waiting) -> None:
    """Wait until Kaggle has processed what it was sent."""
    doing = f"waiting for the data set {package.dataset_slug}"
    pause, last = waiting.pauses
    end = waiting.clock() + waiting.longest
    while (status := account.ask(doing, lambda: _status(account, package))) != "ready":
        if status in ("failed", "deleted"):
            raise CloudError(
                Trouble.FAILED,
                f"Kaggle could not process the data set {package.dataset_slug}",
                why=f"it says: {status}",
                fix=f"Delete it at {cloud_errors.SETTINGS.rsplit('/', 1)[0]}/datasets/"
                f"{package.user}/{package.dataset_slug}, then call this again",
            )
        if waiting.clock() >= end:
            raise cloud_errors.still_processing(package.dataset_slug, waiting.longest / 60)
        account.patience.sleep(pause)
        pause = min(pause * 1.5, last)


def _status(account: Account, package: Package) -> str:
    """Return Kaggle's word for a data set's state, empty where there is none.

    For one that does not exist Kaggle answers 403 or 404: it does not tell strangers which names
    there are.
    """
    try:
        return str(account.api.dataset_status(f"{package.user}/{package.dataset_slug}"))
    except Exception as error:
        if patience.status_of(error) in (403, 404):
            return ""
        raise


def _listed(account: Account, package: Package) -> set[str]:
    """Return the names of the files in the newest version."""
    names: set[str] = set()
    token: str | None = None
    while True:
        answer = account.api.dataset_list_files(
            f"{package.user}/{package.dataset_slug}", page_token=token, page_size=_PAGE
        )
        names |= {str(file.name) for file in answer.files or []}
        token = answer.next_page_token
        if not token:
            return names
