"""What every stage is as a process: its arguments, its files, its signals, how it ends.

A stage is one process, so that its memory surely returns to the system, and so that it may be
killed at any time: each goes on from what lies on disk. A signal only sets a flag; the stage looks
at it between two things.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from host.errors import RenderError
from models.errors import ModelError
from training import progress, run_plan
from training.dataset import picture_set
from training.dataset.picture_set import PictureSet
from training.errors import TrainingError
from training.progress import Event, Happened, Journalist, Stage, State, Status
from training.run_folder import RunFolder
from training.run_plan import Assets, Plan

if TYPE_CHECKING:
    import torch

FINISHED, FAILED, PAUSED = 0, 1, 75
"""Exit codes; 75 is EX_TEMPFAIL: the same call goes on."""

_STDIN = 0
_NO_MEMORY = ("out of memory", "can't allocate memory")
_TOO_LARGE = (
    "the memory does not do for this training. Lower the resolution or the batch (--set "
    "resolution=[512] --set batch=1), take another base (--backend gguf), or close what else uses "
    "the card; what was saved is kept."
)

EXPECTED = (TrainingError, ModelError, RenderError, OSError)


@dataclass(slots=True)
class StageProcess:
    """A stage that runs.

    Attributes:
        stage: which.
        folder: the run's.
        plan: what is to be made.
        assets: where its files are.
        arguments: of the process.
        until: seconds since the epoch, from when on it is to pause; None: never.
        signalled: the signal that told it to stop; 0: none.
        quiet: whether it is one that only helps: it tells nothing.
    """

    stage: Stage
    folder: RunFolder
    plan: Plan
    assets: Assets
    arguments: argparse.Namespace
    until: float | None = None
    signalled: int = 0
    quiet: bool = False
    _journalist: Journalist | None = field(default=None)
    _device: "torch.device | None" = field(default=None)

    @property
    def device(self) -> "torch.device":
        """Where to compute: this process's card, or the CPU. torch is loaded only for this."""
        if self._device is None:
            self._device = _device(self.arguments)
        return self._device

    def stop_wanted(self) -> bool:
        """Whether the stage is to pause."""
        return bool(self.signalled) or (self.until is not None and time.time() >= self.until)

    def pictures(self) -> PictureSet:
        """Return the pictures as the first stage found them.

        Raises:
            TrainingError: it has not, or its list is damaged.
        """
        return picture_set.load(self.folder.dataset)

    def tell(self, event: Happened, **facts: object) -> None:
        """Write an event down."""
        if self.quiet:
            return
        if self._journalist is None:
            self._journalist = Journalist(self.folder.progress)
        told = {"event": event, "at": time.time(), "stage": self.stage, **facts}
        self._journalist.tell(Event.model_validate(told))

    def stands(self, state: State, step: int = 0, steps: int = 0, text: str = "") -> None:
        """Write down where the training stands."""
        if not self.quiet:
            status = Status(state=state, stage=self.stage, step=step, steps=steps, text=text)
            progress.write_status(self.folder.status, status)

    def paused(self, step: int, steps: int) -> int:
        """Write down that the stage pauses, and return the exit code."""
        why = "told to stop" if self.signalled else "the time limit was reached"
        self.stands(State.PAUSED, step, steps, f"{why}; the same call goes on")
        return 128 + self.signalled if self.signalled else PAUSED


def run(stage: Stage, work: Callable[[StageProcess, argparse.Namespace], int]) -> int:
    """Run a stage with this process's arguments; 1 and a sentence if it fails."""
    arguments = _parser(stage).parse_args()
    folder = RunFolder(arguments.run)
    process = None
    try:
        plan = run_plan.read_plan(folder.plan)
        assets = run_plan.read_assets(folder.assets)
        process = StageProcess(stage, folder, plan, assets, arguments, arguments.until)
        process.quiet = arguments.rank > 0
        _listen(process)
        if arguments.lifeline:
            _hold_on_to(process)
        return work(process, arguments)
    except EXPECTED as error:
        return _failed(stage, process, str(error))
    except RuntimeError as error:  # torch's, for a card's memory as for the machine's
        if not any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise
        return _failed(stage, process, _TOO_LARGE)


def _failed(stage: Stage, process: StageProcess | None, told: str) -> int:
    sys.stderr.write(f"training, {stage}: {told}\n")
    if process is not None:
        with contextlib.suppress(OSError):  # a full disk may be what failed
            process.stands(State.FAILED, text=told)
    return FAILED


def _parser(stage: Stage) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m training.stages.{stage}")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--until", type=float, help="seconds since the epoch, from when to pause")
    parser.add_argument("--rank", type=int, default=0, help="number of this process")
    parser.add_argument("--world", type=int, default=1, help="how many processes train")
    parser.add_argument("--meet", type=Path, help="file at which they meet")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    parser.add_argument("--vram-limit", type=float, help="most GB of a card's memory to use")
    return parser


def _hold_on_to(process: StageProcess) -> None:
    """Stop as at a SIGTERM when standard input ends: whoever started this stage is gone.

    The kernel closes that pipe even after kill -9; else a stage would train on beside the next.
    """

    def wait() -> None:
        while os.read(_STDIN, 4096):  # not sys.stdin, whose lock would be held at the exit
            pass
        process.signalled = process.signalled or signal.SIGTERM

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _device(arguments: argparse.Namespace) -> "torch.device":
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", arguments.rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    if arguments.vram_limit:
        total = torch.cuda.mem_get_info(device)[1]
        share = min(1.0, arguments.vram_limit * 1e9 / total)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


def _listen(process: StageProcess) -> None:
    def heard(number: int, _frame: object) -> None:
        process.signalled = number

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heard)
