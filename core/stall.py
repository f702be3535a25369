"""When a running job counts as hung: a long time without a step, measured by its own pace. Pure.

ComfyUI hangs now and then (a swapped-out model, a driver's fall-back to system memory, a node
that never returns: Comfy-Org/ComfyUI#4783, #14573), and a hung job blocks the night. Between two
steps a job may take a multiple of its usual step; before the first step, and in nodes without
steps (loading, encoding, decoding), only a long fixed time counts, for these differ too much.

A socket that went deaf looks like a job that stands still. So half-way to the verdict the owner
is told to connect it anew, and only silence on a fresh socket counts.
"""

from dataclasses import dataclass
from enum import StrEnum

from bridge.tracker import Tracked


class Advice(StrEnum):
    """What to do about a running job."""

    WAIT = "wait"
    LISTEN_ANEW = "listen anew"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, slots=True)
class StallLimits:
    """Times in seconds.

    Attributes:
        factor: this many usual steps without a step are a hang.
        least: but no less than this.
        load: the same before the first step and in nodes without steps.
    """

    factor: float
    least: float
    load: float


class Stall:
    """Watches the running job of one host."""

    def __init__(self, limits: StallLimits) -> None:
        self._limits = limits
        self._job = ""
        self._mark: tuple[str | None, int] = (None, 0)
        self._since = 0.0
        self._gap = 0.0  # longest time between two steps of this node
        self._listened_anew = False

    def note(self, tracked: Tracked, now: float) -> None:
        """Take in what is known of the running job; anything new counts as progress."""
        mark = (tracked.node, tracked.step)
        if tracked.prompt_id == self._job and mark == self._mark:
            return
        same_node = tracked.prompt_id == self._job and tracked.node == self._mark[0]
        if same_node and self._mark[1] > 0:
            self._gap = max(self._gap, now - self._since)
        elif not same_node:
            self._gap = 0.0
        self._job, self._mark, self._since = tracked.prompt_id, mark, now
        self._listened_anew = False

    def allowed(self) -> float:
        """Return how long the job may stand still where it is, in seconds."""
        if not self._gap:
            return self._limits.load
        return max(self._limits.least, self._limits.factor * self._gap)

    def silent(self, job: str, now: float) -> float:
        """Return how long a job has stood still; 0 for one that is not watched."""
        return now - self._since if job == self._job else 0.0

    def advice(self, job: str, now: float) -> Advice:
        """Say what to do now; listening anew is advised once for each standstill."""
        silent = self.silent(job, now)
        if silent >= self.allowed() and self._listened_anew:
            return Advice.INTERRUPT
        if silent >= self.allowed() / 2 and not self._listened_anew:
            self._listened_anew = True
            return Advice.LISTEN_ANEW
        return Advice.WAIT

    def due(self, job: str) -> float | None:
        """Return the clock time of the next advice about this job; ``None`` if not watched."""
        if job != self._job:
            return None
        return self._since + self.allowed() / (1 if self._listened_anew else 2)
