"""Why a Kaggle kernel does not train, and the one line of JSON by which the client learns it."""

import json
from enum import StrEnum
from pathlib import Path

from models import store
from training.errors import TrainingError

REPORT = "vulcan-kernel.json"
"""In the kernel's output."""


class Code(StrEnum):
    """Why, as a word."""

    PYTHON = "python"  # too old
    NO_GPU = "no_gpu"
    WRONG_GPU = "wrong_gpu"
    CUDA = "cuda"  # a card is there, and torch cannot compute on it
    RAM = "ram"
    DISK = "disk"
    INSTALL = "install"
    NO_BASE = "no_base"  # a model file is missing
    NO_PICTURES = "no_pictures"
    TRAINING = "training"  # it began, and failed


class Outcome(StrEnum):
    """How a kernel ended."""

    OK = "ok"  # done or paused: run/status.json says which
    REFUSED = "refused"  # it did not begin to train
    FAILED = "failed"  # it began


class RefusalError(TrainingError):
    """This kernel cannot train.

    Attributes:
        code: why, as a word.
    """

    def __init__(
        self, code: Code, what: str, *, path: Path | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, path=path, why=why, fix=fix)
        self.code = code


def report(working: Path, outcome: Outcome, refusal: RefusalError | None = None) -> None:
    """Write down how the kernel ended.

    Raises:
        OSError: the disk refuses.
    """
    told = {"state": outcome.value, "code": "", "why": "", "fix": ""}
    if refusal is not None:
        told |= {"code": refusal.code.value, "why": _why(refusal), "fix": refusal.fix}
    store.atomic_write(working / REPORT, json.dumps(told).encode())


def _why(refusal: RefusalError) -> str:
    return f"{refusal.what}: {refusal.why}" if refusal.why else refusal.what
