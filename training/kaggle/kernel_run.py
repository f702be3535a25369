"""One run of the notebook inside a Kaggle kernel: each cell calls one of these steps.

A step that cannot go on says why, writes it to ``vulcan-kernel.json``, and the steps after it do
nothing: so a refused run still ends in order, and Kaggle keeps its output. Until packages are
installed only the standard library is imported; that is why imports stand inside functions here.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import store
from models.errors import ModelError
from training.errors import TrainingError
from training.kaggle import found_assets, model_file, pins, preflight
from training.kaggle.model_file import Files, Role
from training.kaggle.places import Places
from training.kaggle.preflight import Accelerator, Needs
from training.kaggle.refusal import Code, Outcome, RefusalError, report
from training.run_folder import RunFolder

if TYPE_CHECKING:
    from training.kaggle.trainer_process import Ended
    from training.progress import Status
    from training.run_plan import Plan

SOURCE = Path(__file__).resolve().parents[2]
GIB = 1 << 30
_REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
_HASHES = "hashes.json"  # the trainer's name of it (training/material.py)
_LEAST_RUNTIME = 60.0  # seconds: less than that is not worth loading a base
_EXPECTED = (TrainingError, ModelError, OSError, subprocess.SubprocessError, ValueError)


@dataclass(frozen=True, slots=True)
class Order:
    """What the notebook's first cell says.

    Attributes:
        plan: ``run.json`` as plain values.
        files: the model files that will do.
        max_runtime: seconds of the whole notebook, after which the training pauses.
        accelerator: what it computes on.
        pictures: their folder below the inputs; empty: the only one.
    """

    plan: Mapping[str, Any]
    files: Files
    max_runtime: float
    accelerator: Accelerator
    pictures: str = ""


class KernelRun:
    """The steps, in their order: preflight, install, assets, resume, train, export, finish."""

    def __init__(
        self,
        order: Order,
        places: Places,
        environment: Mapping[str, str],
        say: Callable[[str], None] = print,
    ) -> None:
        self._order, self._places, self._environment = order, places, environment
        self._say = say
        self._begun = time.monotonic()
        self._refusal: RefusalError | None = None
        self._outcome = Outcome.OK
        self._folder = RunFolder(places.run)

    @classmethod
    def open(
        cls,
        plan: Mapping[str, Any],
        files: Mapping[str, Any],
        max_runtime: float,
        accelerator: str,
        pictures: str = "",
    ) -> "KernelRun":
        """Begin with what the first cell says, at Kaggle's places or those of the environment."""
        environment = os.environ
        places = Places(
            *(
                Path(environment.get(f"VULCAN_KAGGLE_{name.upper()}", f"/kaggle/{name}"))
                for name in ("input", "working", "temp")
            )
        )
        kind = Accelerator(accelerator)
        order = Order(plan, model_file.from_table(files), max_runtime, kind, pictures)
        return cls(order, places, environment)

    def preflight(self) -> None:
        """Look at the machine."""
        self._step("Preflight", Code.DISK, self._preflight)

    def install(self) -> None:
        """Install what is not there."""
        self._step("Packages", Code.INSTALL, self._install)

    def assets(self) -> None:
        """Find or fetch model files and pictures."""
        self._step("Assets", Code.NO_BASE, self._assets)

    def resume(self) -> None:
        """Take over what an earlier run left."""
        self._step("Earlier output", Code.DISK, self._resume)

    def train(self) -> None:
        """Train."""
        self._step("Training", Code.TRAINING, self._train)

    def export(self) -> list[Path]:
        """Tidy up the output; return pictures to look at."""
        self._step("Output", Code.DISK, self._export)
        return [path for path in (self._folder.loss_curve, self._folder.sheet) if path.is_file()]

    def finish(self) -> None:
        """Write down how it ended; the last line says so."""
        report(self._places.working, self._outcome, self._refusal)
        if self._refusal is None:
            self._say(self._standing())
        elif self._outcome is Outcome.FAILED:
            self._say(f"Failed: {self._refusal}")
        else:
            self._say(f"Refused ({self._refusal.code}): {self._refusal}")

    def _step(self, name: str, code: Code, work: Callable[[], None]) -> None:
        if self._refusal is not None and name != "Output":
            self._say(f"{name}: left out, as the run was given up before.")
            return
        try:
            work()
        except _EXPECTED as error:
            refusal = error if isinstance(error, RefusalError) else _as_refusal(code, error)
            self._refusal = self._refusal or refusal
            failed = refusal.code is Code.TRAINING or name == "Output"
            self._outcome = Outcome.FAILED if failed else Outcome.REFUSED
            report(self._places.working, self._outcome, self._refusal)
            self._say(f"{name}: {error}")

    def _preflight(self) -> None:
        machine = preflight.look(self._places)
        self._say(f"Preflight: {machine}")
        preflight.judge(machine, self._needs())
        if self._order.accelerator is Accelerator.T4:
            self._say(f"Preflight: torch {preflight.try_cuda()} computes on {len(machine.cards)}")

    def _needs(self) -> Needs:
        """Twice the largest file passes through memory; checkpoints of rank 16 take 1.3 GB."""
        if self._order.accelerator is Accelerator.NONE:
            return Needs(self._order.accelerator, GIB, GIB // 4, GIB // 4)
        fetched = sum(
            file.about for file in found_assets.to_fetch(self._places.input, self._order.files)
        )
        return Needs(self._order.accelerator, 16 * GIB, fetched + 2 * GIB, 4 * GIB)

    def _install(self) -> None:
        names = pins.wanted(self._order.plan)
        texts = [(SOURCE / name).read_text() for name in _REQUIREMENTS]
        there = pins.installed(names)
        if self._order.accelerator is Accelerator.T4 and pins.remove_old_torchao():
            self._say("Packages: took out the image's old torchao, beside which peft refuses.")
        if not (needed := pins.missing(names, pins.read(*texts), there)):
            self._say("Packages: all are there.")
            return
        self._say(f"Packages: installing {', '.join(needed)}")
        pins.install(needed, there, self._places.temp)

    def _assets(self) -> None:
        from training import run_plan

        hashes = self._places.temp / _HASHES
        found = {role: self._model(role, hashes) for role in Role}
        pictures = found_assets.pictures(self._places.input, self._order.pictures)
        assets = run_plan.Assets(
            pictures=pictures, models=self._places.models, **{r.value: p for r, p in found.items()}
        )
        self._found = assets
        self._say(f"Assets: pictures in {pictures}")

    def _model(self, role: Role, hashes: Path) -> Path:
        """Return a model file, mounted or fetched."""
        from training.kaggle import hub_download, hub_token

        choices = self._order.files[role]
        path = found_assets.find(self._places.input, choices, hashes)
        if path is None:
            for other in found_assets.misfits(self._places.input, choices):
                self._say(f"Assets: {other} has the name and other bytes; it is left alone.")
            token = hub_token.find(self._environment)
            path, file = hub_download.fetch(
                choices, self._places.models, token, lambda line: self._say(f"Assets: {line}")
            )
            store.remember_sha256(path, hashes, file.sha256 or store.sha256(path))
        self._say(f"Assets: {role} is {path}")
        return path

    def _resume(self) -> None:
        from training import run_plan
        from training.kaggle import earlier_output

        plan, own = self._plan(), self._folder
        earlier = earlier_output.find(self._places.input, plan, own)
        if earlier is None:
            aside = earlier_output.put_aside(own, plan)
            self._say("Earlier output: none that fits, so this begins at the beginning.")
            if aside:
                self._say(f"Earlier output: what was in the way is in {aside.name} now.")
        else:
            earlier_output.take(earlier, own, plan)
            where = "it is finished" if earlier.done else f"goes on from update {earlier.step:,}"
            self._say(f"Earlier output: {earlier.folder.path}, {where}.")
        run_plan.write(own.plan, plan)
        run_plan.write(own.assets, self._found)
        store.atomic_write(own.path / _HASHES, (self._places.temp / _HASHES).read_bytes())

    def _plan(self) -> "Plan":
        from training import run_plan

        path = self._places.temp / "run.json"
        store.atomic_write(path, json.dumps(self._order.plan).encode())
        return run_plan.read_plan(path)

    def _train(self) -> None:
        from training.kaggle import trainer_process

        left = self._order.max_runtime - (time.monotonic() - self._begun)
        seconds = max(left, min(_LEAST_RUNTIME, self._order.max_runtime))
        ended = trainer_process.run(self._folder, seconds, SOURCE, self._say)
        status = self._status()
        if ended.code and (status is None or status.state is not status.state.PAUSED):
            raise RefusalError(
                Code.TRAINING,
                _what_failed(ended, status),
                fix="Its output is kept: run the notebook again with it attached, to go on",
            )

    def _status(self) -> "Status | None":
        from training import progress

        return progress.read_status(self._folder.status)

    def _export(self) -> None:
        """Leave out what is large or of this machine alone: caches, paths."""
        shutil.rmtree(self._folder.cache, ignore_errors=True)
        for path in (self._folder.assets, self._folder.path / _HASHES):
            path.unlink(missing_ok=True)
        for path in sorted((self._folder.path / "lora").glob("*.safetensors")):
            self._say(f"Output: {path} ({path.stat().st_size / 1e6:.1f} MB)")

    def _standing(self) -> str:
        status = self._status()
        if status is None:
            return "Not begun: run the cells above."
        if status.state is status.state.DONE:
            return f"Done: {status.lora} after {status.steps:,} updates."
        return (
            f"Paused at {status.stage}, {status.step:,} of {status.steps:,}: {status.text}. Run "
            "the notebook again with its own output attached, to go on."
        )


def _what_failed(ended: "Ended", status: "Status | None") -> str:
    """Return the trainer's own sentence, or else how it ended and the last that it said."""
    if status is not None and status.state is status.state.FAILED and status.text:
        return status.text.rstrip(".")
    last = f" after saying: {ended.last}" if ended.last else ""
    return f"the trainer ended with {ended.code}{last}".rstrip(".")


def _as_refusal(code: Code, error: Exception) -> RefusalError:
    if isinstance(error, TrainingError | ModelError):
        return RefusalError(code, error.what, path=error.path, why=error.why, fix=error.fix)
    return RefusalError(code, str(error), fix="See the log above; run all again")
