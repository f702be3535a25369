"""Runs jobs one after the other and keeps what they leave for each other.

What happens within one job is :mod:`host.job_run`'s business; when a job's turn comes is
:mod:`host.worker`'s.
"""

from host.interrupt import Interrupt
from host.job_ending import Ending
from host.job_queue import Job
from host.job_run import JobRun
from host.surroundings import Memory, Send, Surroundings


class Executor:
    """Runs jobs in the thread that calls it."""

    def __init__(self, around: Surroundings, interrupt: Interrupt, send: Send) -> None:
        self._around = around
        self._interrupt = interrupt
        self._send = send
        self._memory = Memory()

    def run(self, job: Job) -> Ending:
        """Run a job to its end, whatever that is; never raises for what a node did."""
        try:
            return JobRun(job, self._around, self._interrupt, self._send, self._memory).run()
        finally:
            self._memory.current_node = None

    @property
    def current_node(self) -> str | None:
        """Return the node that runs now."""
        return self._memory.current_node

    def forget(self) -> None:
        """Drop every cached result."""
        self._memory.cache.clear()
