"""A training as the journal's database has it: its values, phases and states. Pure.

Its recipe is in the run folder (``training.run_plan``), how far it is in the run's progress.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Phase(StrEnum):
    """What a training is at. Each can be done again, so a kill in the middle of it costs little."""

    VALIDATING = "validating"  # pictures and captions are looked at
    TRAINING = "training"  # here
    UPLOADING = "uploading"  # pictures go to the cloud
    PUSHING = "pushing"  # the cloud is told to begin, or to go on
    RUNNING = "running"  # there
    FETCHING = "fetching"  # the LoRA comes back
    CHECKING = "checking"  # it is held against the file that will draw with it
    PAIRING = "pairing"  # it gets a name that prompt files use
    DRAWING = "drawing"  # a test sheet, by a director


class State(StrEnum):
    """How a training stands."""

    WORKING = "working"  # a worker has it, or died over it
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # at somebody's wish, or at a time limit: the same call goes on


class Where(StrEnum):
    """Whose machine trains."""

    LOCAL = "local"
    KAGGLE = "kaggle"


_AFTERWARDS = (Phase.CHECKING, Phase.PAIRING, Phase.DRAWING)
_CLOUD = (Phase.UPLOADING, Phase.PUSHING, Phase.RUNNING, Phase.FETCHING)
PHASES = {
    Where.LOCAL: (Phase.VALIDATING, Phase.TRAINING, *_AFTERWARDS),
    Where.KAGGLE: (Phase.VALIDATING, *_CLOUD, *_AFTERWARDS),
}
"""The phases of a place, in their order."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training.

    Attributes:
        id: eight hex digits.
        name: of the LoRA and of its pair.
        place: where it is trained.
        phase: where it is, or goes on.
        state: how it stands.
        folder: its run folder, absolute.
        pictures: fingerprint of the folder of pictures (core.training_pictures).
        unet: the file that will draw with the LoRA.
        flags: of its worker's command line, in JSON: who goes on need not repeat them.
        pid: its newest worker's process; 0 before the first.
        born: when that process began, in ticks since the boot: a number can be used again.
        slug: of its kernel on Kaggle.
        version: that was pushed last.
        reached: updates made when it was pushed last.
        stuck: pushes in a row that added none.
        told: what it does, waits for, or why it ended.
        sheet: path of the test sheet, empty before.
        created: seconds since the epoch, as all times here.
        moved: when phase or state changed last.
        ended: when it was done, failed or was stopped.
    """

    id: str
    name: str
    place: Where
    phase: Phase
    state: State
    folder: Path
    pictures: str
    unet: Path
    created: float
    moved: float
    flags: str = "[]"
    pid: int = 0
    born: int = 0
    slug: str = ""
    version: int = 0
    reached: int = 0
    stuck: int = 0
    told: str = ""
    sheet: str = ""
    ended: float | None = None

    @property
    def next_phase(self) -> Phase | None:
        """The phase after this one; ``None`` after the last."""
        order = PHASES[self.place]
        after = order.index(self.phase) + 1
        return order[after] if after < len(order) else None
