"""Trains one LoRA: ``python -m training RUN``, one stage after the other, each a process.

Every stage goes on from what lies in the run's folder, so the same call after a stop, a kill or a
time limit does what is left. SIGTERM and SIGINT are handed to the stage, which saves and ends.

    0    done, or paused at --max-runtime: status.json says which
    1    failed; the last line on stderr says why
    128+ told to stop by that signal; everything is saved
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from training import progress, run_plan
from training.errors import TrainingError
from training.progress import Stage, State
from training.run_folder import RunFolder

PAUSED = 75
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the stages that are left."""
    arguments = _parser().parse_args()
    folder = RunFolder(arguments.run.absolute())
    try:
        plan = run_plan.read_plan(folder.plan)
        run_plan.read_assets(folder.assets)
        status = progress.read_status(folder.status)
    except TrainingError as error:
        sys.stderr.write(f"training: {error}\n")
        return 1
    lora = folder.lora(plan.name)
    if status is not None and status.state is State.DONE and lora.is_file():
        return 0
    # Idle threads of OpenMP must sleep, not spin: beside any other program that costs ten times the
    # time. Read once, when a stage imports torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    begun = time.time()
    until = None if arguments.max_runtime is None else begun + arguments.max_runtime
    for stage in Stage:
        code = _run(folder, stage, arguments, until)
        if code:
            return 0 if code == PAUSED else code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train a LoRA, or go on with it."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder with run.json, assets.json")
    parser.add_argument("--max-runtime", type=float, metavar="SECONDS", help="pause after so long")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="processes that train (default: one a card)"
    )
    parser.add_argument("--vram-limit", type=float, metavar="GB", help="of a card's memory to use")
    return parser


def _run(
    folder: RunFolder, stage: Stage, arguments: argparse.Namespace, until: float | None
) -> int:
    """Run one stage; its exit code, the first that is not 0 where several processes train."""
    more = ["--lifeline"] if until is None else ["--lifeline", "--until", str(until)]
    if arguments.vram_limit is not None:
        more += ["--vram-limit", str(arguments.vram_limit)]
    world = _processes(arguments) if stage is Stage.TRAIN else 1
    with tempfile.TemporaryDirectory() as place:
        if world > 1:
            more += ["--world", str(world), "--meet", f"{place}/meet"]
        children = [
            subprocess.Popen(
                [sys.executable, "-m", f"training.stages.{stage}", str(folder.path), *more]
                + (["--rank", str(rank)] if rank else []),
                cwd=ROOT,
                stdin=subprocess.PIPE,  # ends when we do, however that happens
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone: we hand it on
            )
            for rank in range(world)
        ]
        return ended(children)


def _processes(arguments: argparse.Namespace) -> int:
    """Return how many processes train: one for each card that torch sees.

    Without a second card's device file torch, which takes seconds to load, is not asked. (Under WSL
    cards have no such files; there --processes says it.)
    """
    if arguments.processes:
        return int(arguments.processes)
    if not Path("/dev/nvidia1").exists():
        return 1
    count = "import torch; print(torch.cuda.device_count())"
    told = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
    return max(1, int(told.stdout))


def ended(children: list["subprocess.Popen[bytes]"]) -> int:
    """Wait for all; when one fails, the others are ended, too."""
    with _handing_on(children):
        codes: list[int] = []
        waiting = list(children)
        while waiting:
            for child in waiting:
                code = child.poll()
                if code is not None:
                    codes.append(128 - code if code < 0 else code)
                    waiting.remove(child)
                    if code not in (0, PAUSED):
                        for other in waiting:
                            other.terminate()
                    break
            else:
                time.sleep(0.05)
    return next((code for code in codes if code), 0)


@contextlib.contextmanager
def _handing_on(children: list["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Hand signals on to the stage."""

    def heard(number: int, _frame: object) -> None:
        for child in children:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    before = {one: signal.signal(one, heard) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


if __name__ == "__main__":
    sys.exit(main())
