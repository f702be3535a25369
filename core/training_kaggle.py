"""Kaggle as the cloud of one training: the calls of ``training.kaggle``, with what they need.

Signs in with the first call, so that a network that is away then only delays, too.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from configs.settings import Settings
from core.training_cloud import CloudAway, Pause
from core.training_record import Training
from models import base_shape, flux
from training import run_plan
from training.errors import TrainingError
from training.kaggle import (
    cloud_log,
    cloud_output,
    cloud_package,
    cloud_run,
    dataset_upload,
    notebook,
)
from training.kaggle import verdict as verdicts
from training.kaggle.account import Account
from training.kaggle.cloud_errors import CloudError, Trouble
from training.kaggle.patience import Patience
from training.kaggle.values import CloudStatus, Contents, Fetched, Package, Want
from training.run_folder import RunFolder
from training.run_plan import Plan

USUAL_HOURS = 11.0  # a session there has 12, and what a killed one saved may be lost
_MOST_HOURS = 12.0
_HOUR = 3600
_LEAST_HOURS = 0.25
_SPARE_HOURS = 0.5  # between the trainer's own end and Kaggle's
_PAUSES = (1.0, 2.0, 4.0)  # seconds; beyond them the worker itself is patient
_PACKAGE = "kaggle"  # in the run folder

T = TypeVar("T")


class Kaggle:
    """One training's part of an account.

    Args:
        training: which.
        settings: whose data set with the base, and for tests whose server.
        hours: time limit of a run; 0 for the usual one.
        pause: waits; raises what ends the worker if somebody wants that.
    """

    def __init__(self, training: Training, settings: Settings, hours: float, pause: Pause) -> None:
        self._training, self._settings = training, settings.training
        self._hours = min(hours or USUAL_HOURS, _MOST_HOURS)
        self._pause, self._run = pause, RunFolder(training.folder)

    @cached_property
    def _account(self) -> Account:
        patience = Patience(pauses=_PAUSES, sleep=self._pause)
        return Account.open(self._settings.kaggle_endpoint or None, patience)

    @cached_property
    def _plan(self) -> Plan:
        return run_plan.read_plan(self._run.plan)

    @cached_property
    def _package(self) -> Package:
        work = self._run.path / _PACKAGE
        return cloud_package.package(self._run, self._account.user, work, self._contents())

    @property
    def _slug(self) -> str:
        return self._training.slug or cloud_package.slug_of(self._plan, self._run.path.name)

    def upload(self) -> str:
        """Bring the pictures there, unless they are; return what the run is called."""
        self._reached(lambda: dataset_upload.upload(self._account, self._package))
        return self._slug

    def push(self, *, resume: bool) -> int:
        """Begin a run, with the last one's output if it is to go on; return its number."""
        seconds = round(min(self._hours + _SPARE_HOURS, _MOST_HOURS) * _HOUR)
        return self._reached(
            lambda: cloud_run.push(self._account, self._package, resume=resume, timeout_s=seconds)
        )

    def status(self) -> CloudStatus | None:
        """Say where the newest run stands; None if there is none."""
        try:
            return self._reached(lambda: cloud_run.status(self._account, self._slug))
        except CloudError as error:
            if error.trouble is Trouble.GONE:
                return None
            raise

    def log(self) -> list[str]:
        """Return what the newest run printed."""
        return self._reached(lambda: cloud_log.log(self._account, self._slug))

    def fetch(self, want: Want) -> Fetched:
        """Bring output of the newest run into the run folder."""
        return self._reached(lambda: cloud_output.fetch(self._account, self._slug, self._run, want))

    def verdict(self, status: CloudStatus, fetched: Fetched) -> TrainingError | None:
        """Say why a run that is over gave nothing; None if it ended as it should."""
        return self._reached(
            lambda: verdicts.verdict(self._account, self._slug, self._run, status, fetched)
        )

    def cancel(self) -> str:
        """Say how a person ends the run: Kaggle's interface cannot."""
        return self._reached(lambda: cloud_run.how_to_stop(self._account.user, self._slug))

    def _reached(self, call: Callable[[], T]) -> T:
        """Call; what may pass by itself is CloudAway."""
        try:
            return call()
        except CloudError as error:
            if error.trouble in (Trouble.NETWORK, Trouble.BUSY, Trouble.PROCESSING):
                raise CloudAway(f"{error.what}: {error.why}.") from error
            raise

    def _contents(self) -> Contents:
        """Return what goes there: a small base travels with the pictures, FLUX.1 does not."""
        assets = run_plan.read_assets(self._run.assets)
        is_micro = base_shape.read(assets.unet).hidden < flux.FLUX_DEV.hidden
        models: tuple[Path, ...] = (assets.unet, assets.clip_l, assets.t5, assets.vae)
        return Contents(
            pictures=assets.pictures,
            notebook=self._notebook,
            models=models if is_micro else (),
            base_dataset=self._settings.kaggle_base,
            gpu=not is_micro,
        )

    def _notebook(self, plan: Plan) -> str:
        return notebook.build(plan, max_runtime=self._hours_left() * _HOUR)

    def _hours_left(self) -> float:
        """Return the time limit of a run: less where the week's quota ends before.

        The run must end itself: what Kaggle ends may lose its output. A quota that is out is for
        Kaggle to refuse, in its own words.
        """
        left = self._reached(lambda: cloud_run.quota(self._account))
        if left is None:
            return self._hours
        return min(self._hours, max(_LEAST_HOURS, left - _SPARE_HOURS))
