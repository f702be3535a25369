"""What each phase of a training does. Every one may be done again, from its beginning."""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.settings import ROOT, Settings
from core import training_child, training_pair, training_pictures, training_sheet
from core.training_child import Stop
from core.training_cloud import Cloud, CloudRun, Pause
from core.training_process import LOG
from core.training_record import Phase, Training
from core.training_table import Trainings
from models import base_shape, flux
from training import run_plan
from training.errors import TrainingError
from training.run_folder import RunFolder
from training.run_plan import Assets, Plan

logger = logging.getLogger(__name__)

_HOUR = 3600.0

OpenCloud = Callable[[Training, Settings, float, Pause], Cloud]


def kaggle(training: Training, settings: Settings, hours: float, pause: Pause) -> Cloud:
    """Return what speaks to Kaggle for a training; nothing is asked yet."""
    from core.training_kaggle import Kaggle

    return Kaggle(training, settings, hours, pause)


@dataclass(frozen=True, slots=True)
class Site:
    """What a worker was given.

    Attributes:
        settings: the user's.
        trainer: the module that trains.
        max_runtime: hours until the trainer pauses; 0 for the settings' own.
        director: flags with which a director has the same settings.
        open_cloud: makes what speaks to the cloud.
    """

    settings: Settings
    trainer: str
    max_runtime: float
    director: tuple[str, ...]
    open_cloud: OpenCloud = kaggle

    @property
    def hours(self) -> float:
        """The time limit; 0 for none."""
        return self.max_runtime or self.settings.training.max_runtime


class Work:
    """The phases of one training.

    Args:
        training: which, as it is now.
        table: where it is written down.
        site: what the worker was given.
        stop: somebody's wish to stop.
        lock: of the run.
    """

    def __init__(
        self, training: Training, table: Trainings, site: Site, stop: Stop, lock: int
    ) -> None:
        self._training, self._table, self._site = training, table, site
        self._stop, self._lock = stop, lock
        self._run = RunFolder(training.folder)

    def do(self, phase: Phase) -> Phase | None:
        """Do one phase and return the next; None after the last.

        Raises:
            TrainingError, ModelError, PrepareError, JournalError, OSError: it failed.
            Paused: the time limit was reached.
            Stopped: somebody wants it to stop.
        """
        self._stop.pause(0)
        own: Mapping[Phase, Callable[[], None]] = {
            Phase.VALIDATING: self._validate,
            Phase.TRAINING: self._train,
            Phase.CHECKING: self._check,
            Phase.PAIRING: self._pair,
            Phase.DRAWING: self._draw,
        }
        if phase in own:
            own[phase]()
            return self._training.next_phase
        return self._do_in_the_cloud(phase)

    def _do_in_the_cloud(self, phase: Phase) -> Phase:
        site, pause = self._site, self._stop.pause
        cloud = site.open_cloud(self._training, site.settings, site.hours, pause)
        run = CloudRun(self._training, cloud, self._note, pause)
        return {
            Phase.UPLOADING: run.uploading,
            Phase.PUSHING: run.pushing,
            Phase.RUNNING: run.running,
            Phase.FETCHING: run.fetching,
        }[phase]()

    def _validate(self) -> None:
        """Look at pictures and captions before anything costs time."""
        plan, assets = self._plan(), self._assets()
        if training_pictures.fingerprint(assets.pictures) != self._training.pictures:
            raise TrainingError(
                "the pictures or captions are not those that this training began with",
                path=assets.pictures,
                fix="Put them back, or train anew: --fresh, or another --name",
            )
        told = training_pictures.validate(self._run, plan, assets)
        self._note(told=told)
        logger.info("%s", told)

    def _train(self) -> None:
        site = self._site
        training_child.train(self._run, self._stop, self._lock, site.trainer, site.hours * _HOUR)

    def _check(self) -> None:
        plan, edge, settings = self._plan(), self._training.unet, self._site.settings
        for note in training_pair.check(self._run, plan, edge, settings):
            logger.warning("%s", note)
            self._note(told=note)

    def _pair(self) -> None:
        pair = training_pair.publish(
            self._run, self._plan(), self._training.unet, self._site.settings, self._report
        )
        logger.info("paired %s: %s", pair.name, pair.loras[0].file)

    def _draw(self) -> None:
        """Have the test sheet drawn, with what a director needs written beside it."""
        settings, plan = self._site.settings, self._plan()
        is_micro = base_shape.read(self._training.unet).hidden < flux.FLUX_DEV.hidden
        text = training_sheet.content(plan, is_micro=is_micro)
        name = training_sheet.ask(self._training, text, settings)
        self._note(told=f"waiting for {name} to be drawn")
        training_sheet.wait(name, settings, self._start_director, self._stop.pause)
        sheet = training_sheet.made(name, settings)
        self._note(sheet=str(sheet.path), told="")
        logger.info("test sheet: %s", sheet.path)

    def _start_director(self) -> int:
        command = [sys.executable, str(ROOT / "core" / "director.py"), "run", "--once"]
        with (self._run.path / LOG).open("ab") as log:
            # Not the run's lock: the director has its own, and may outlive this.
            return self._stop.run([*command, *self._site.director], log, -1, Path(os.curdir))

    def _plan(self) -> Plan:
        return run_plan.read_plan(self._run.plan)

    def _assets(self) -> Assets:
        return run_plan.read_assets(self._run.assets)

    def _report(self, what: str, _share: float) -> None:
        self._note(told=what)

    def _note(self, **changes: object) -> None:
        self._table.note(self._training.id, **changes)
