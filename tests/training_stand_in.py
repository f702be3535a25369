"""A trainer that only pretends: it writes the files of the real one, and misbehaves on order.

``python -m tests.training_stand_in RUN [--max-runtime S]``. ``RUN/orders.json`` may say:
``pause`` (seconds of a step), ``die_at`` (a list of steps: kill -9 there, once each), ``stuck_at``
(kill -9 there, each time), ``fail`` (a sentence). Its checkpoint is one number.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from models import store
from models.micro import micro_set
from training import progress, run_plan
from training.progress import Event, Happened, Journalist, Stage, State, Status
from training.run_folder import RunFolder

STOPPED = 143


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--max-runtime", type=float, default=0.0)
    arguments = parser.parse_args()
    run = RunFolder(arguments.run)
    orders = json.loads(_text(run.path / "orders.json") or "{}")
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    if orders.get("fail"):
        _stands(run, State.FAILED, text=orders["fail"])
        sys.stderr.write(f"training, validate: {orders['fail']}\n")
        return 1
    return _train(run, orders, stopped, arguments.max_runtime)


def _train(run: RunFolder, orders: dict[str, Any], stopped: list[int], limit: float) -> int:
    journalist, begun = Journalist(run.progress), time.monotonic()
    checkpoint = run.checkpoints / "step"
    steps, step = run_plan.read_plan(run.plan).recipe.steps, int(_text(checkpoint) or 0)
    _tell(journalist, Happened.STAGE, step, steps)
    while step < steps:
        time.sleep(orders.get("pause", 0.02))
        step += 1
        _tell(journalist, Happened.STEP, step, steps, loss=1 / step, seconds=0.02)
        _perhaps_die(run, orders, step)
        store.atomic_write(checkpoint, str(step).encode())
        _stands(run, State.RUNNING, step, steps)
        if stopped or (limit and time.monotonic() - begun > limit):
            _stands(run, State.PAUSED, step, steps, text="paused; the same call goes on")
            return STOPPED if stopped else 0
    _export(run, steps)
    return 0


def _perhaps_die(run: RunFolder, orders: dict[str, Any], step: int) -> None:
    died = run.path / f"died-{step}"
    once = step in orders.get("die_at", []) and not died.exists()
    if once or step == orders.get("stuck_at"):
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _export(run: RunFolder, steps: int) -> None:
    name = run_plan.read_plan(run.plan).name
    lora = run.lora(name)
    lora.parent.mkdir(exist_ok=True)
    shutil.copy(micro_set.place(micro_set.SHIPPED).lora, lora)
    status = Status(
        state=State.DONE,
        stage=Stage.EXPORT,
        step=steps,
        steps=steps,
        lora=f"lora/{name}.safetensors",
        sha256=store.sha256(lora),
    )
    progress.write_status(run.status, status)


def _tell(journalist: Journalist, event: Happened, step: int, steps: int, **facts: Any) -> None:
    told = {"event": event, "at": time.time(), "stage": Stage.TRAIN, "step": step, "steps": steps}
    journalist.tell(Event.model_validate(told | facts))


def _stands(run: RunFolder, state: State, step: int = 0, steps: int = 0, text: str = "") -> None:
    status = Status(state=state, stage=Stage.TRAIN, step=step, steps=steps, text=text)
    progress.write_status(run.status, status)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
