"""A training in the cloud: pushed, watched, fetched, and pushed again until it is done.

A run there ends at its time limit, or is taken away; what it saved comes back, and the next push
goes on from it, as long as each one adds something. A network that is away only delays. Whose
cloud it is, is not known here; :mod:`core.training_kaggle` speaks to it.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from core.status import duration
from core.training_record import Phase, Training
from training import progress
from training.errors import TrainingError
from training.kaggle.values import CloudState, CloudStatus, Fetched, Want
from training.progress import Event, Happened, Stage, State
from training.run_folder import RunFolder

logger = logging.getLogger(__name__)

LOG = "cloud.log"  # in the run folder: what the run there printed
MOST_STUCK = 2  # pushes in a row that may add nothing

T = TypeVar("T")
Note = Callable[..., None]
Pause = Callable[[float], None]


class CloudAway(Exception):  # noqa: N818 - names what is so
    """The cloud cannot be reached now; nothing is lost, and asking again may help."""


class Cloud(Protocol):
    """What a cloud does for one training; each call may raise CloudAway or TrainingError."""

    def upload(self) -> str:
        """Bring the pictures there, unless they are; return what the run is called."""

    def push(self, *, resume: bool) -> int:
        """Begin a run, with the last one's output if it is to go on; return its number."""

    def status(self) -> CloudStatus | None:
        """Say where the newest run stands; None if there is none."""

    def log(self) -> list[str]:
        """Return what the newest run printed."""

    def fetch(self, want: Want) -> Fetched:
        """Bring output of the newest run into the run folder."""

    def verdict(self, status: CloudStatus, fetched: Fetched) -> TrainingError | None:
        """Say why a run that is over gave nothing; None if it ended as it should."""

    def cancel(self) -> str:
        """End the newest run, or say how a person does that."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the cloud is asked, in seconds: ever more seldom while it does the same.

    Attributes:
        first: after something new.
        longest: at the most.
        growth: factor from one to the next.
    """

    first: float = 10.0
    longest: float = 120.0
    growth: float = 1.5

    def pauses(self) -> Iterator[float]:
        """Yield one pause after the other."""
        pause = self.first
        while True:
            yield pause
            pause = min(pause * self.growth, self.longest)


class CloudRun:
    """The phases of one training in the cloud; each returns the phase after it.

    Args:
        training: which.
        cloud: where.
        note: writes down what happens within a phase.
        pause: waits so many seconds; raises what ends the worker if somebody wants that.
        pace: how often to ask.
    """

    def __init__(
        self, training: Training, cloud: Cloud, note: Note, pause: Pause, pace: Pace | None = None
    ) -> None:
        self._training, self._cloud, self._note = training, cloud, note
        self._pause, self._pace = pause, pace or Pace()
        self._run = RunFolder(training.folder)
        self._reached, self._stuck = training.reached, training.stuck
        self._version = training.version

    def uploading(self) -> Phase:
        """Bring the pictures there."""
        self._note(slug=self._patiently(self._cloud.upload))
        return Phase.PUSHING

    def pushing(self) -> Phase:
        """Begin a run, unless one is under way: the last worker may have died over it."""
        before = self._patiently(self._cloud.status)
        if before is None or before.state.over:
            self._version = self._patiently(lambda: self._cloud.push(resume=self._version > 0))
            self._note(version=self._version)
        return Phase.RUNNING

    def running(self) -> Phase:
        """Watch until it is over there."""
        pauses, seen = self._pace.pauses(), ""
        while True:
            status = self._patiently(self._cloud.status)
            if status is None:
                raise TrainingError(
                    "the run is gone from the cloud", fix="Was it deleted? Train under another name"
                )
            if status.state.over:
                return Phase.FETCHING
            if (news := self._looked(status)) != seen:
                pauses, seen = self._pace.pauses(), news
            self._pause(next(pauses))

    def fetching(self) -> Phase:
        """Bring back what there is, and decide what is next."""
        fetched = self._patiently(lambda: self._cloud.fetch(Want.ALL))
        status = self._patiently(self._cloud.status)
        self._keep_log()
        try:
            return self._after(fetched, status or CloudStatus(CloudState.ERROR))
        except TrainingError:
            self._note(phase=Phase.PUSHING)  # fetching the same again would end the same way
            raise

    def _after(self, fetched: Fetched, status: CloudStatus) -> Phase:
        """Return what follows on an ended run."""
        # Where the run left no status, the one that lies here is of a run before it.
        is_new = self._run.status.name in fetched.listed
        stands = progress.read_status(self._run.status) if is_new else None
        if stands is not None and stands.state is State.DONE:
            return Phase.CHECKING
        if stands is not None and stands.state is State.FAILED:
            raise TrainingError(stands.text.rstrip(".") or "the training failed there")
        why = self._patiently(lambda: self._cloud.verdict(status, fetched))
        refused = fetched.report is not None and fetched.report.refused
        if why is not None and (refused or status.state is CloudState.CANCELLED):
            raise why
        self._count(status, why)
        return Phase.PUSHING

    def _count(self, status: CloudStatus, why: TrainingError | None) -> None:
        """Note how far it came; give up if it comes no further."""
        reached = _reached(self._run)
        self._stuck = 0 if reached > self._reached else self._stuck + 1
        self._reached = max(reached, self._reached)
        self._note(reached=self._reached, stuck=self._stuck)
        logger.info("the run ended (%s) at update %d", status.state, reached)
        if self._stuck >= MOST_STUCK:
            self._note(stuck=0)  # a person who goes on gets both tries again
            raise TrainingError(
                f"{MOST_STUCK} runs in a row came no further than update {self._reached}",
                why=str(why or status.message or "each paused at once").rstrip("."),
                fix=f"Look at {self._run.path / LOG}",
            )

    def _looked(self, status: CloudStatus) -> str:
        """Take in what a run that goes on tells, and return it: its state, and its last words."""
        lines = self._keep_log()
        told = f"{status.state} on {self._training.place}" + (f": {lines[-1]}" if lines else "")
        self._note(told=told)
        return told

    def _keep_log(self) -> list[str]:
        """Keep the log; where there is none yet, later is as good."""
        try:
            lines = self._cloud.log()
        except (CloudAway, TrainingError) as error:
            logger.info("no log yet: %s", error)
            return []
        if lines:
            (self._run.path / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return lines

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until the cloud answers."""
        pauses, was_away = self._pace.pauses(), False
        while True:
            self._pause(0)
            try:
                answer = ask()
            except CloudAway as error:
                pause, was_away = next(pauses), True
                logger.warning("%s", error)
                self._note(told=f"{error} Asked again in {duration(pause)}.")
                self._pause(pause)
            else:
                if was_away:
                    self._note(told="")
                return answer


def _reached(run: RunFolder) -> int:
    """Return how many updates were made, as far as is known here."""
    status = progress.read_status(run.status)
    told = status.step if status is not None and status.stage is Stage.TRAIN else 0
    events = (event for event in progress.read(run.progress) if _counts(event))
    return max((told, *(event.step for event in events)))


def _counts(event: Event) -> bool:
    return event.stage is Stage.TRAIN and event.event is Happened.STEP
