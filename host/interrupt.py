"""The interrupt flag: set by a route, seen by the running job at its next step.

A flag that is set while nothing runs must not reach the next job, so it names the job that it is
meant for.
"""

import threading

from host.errors import InterruptedRunError


class Interrupt:
    """Which running job is to stop. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: str | None = None
        self._wanted = False

    def begin(self, prompt_id: str) -> None:
        """Note that a job starts; earlier requests do not concern it."""
        with self._lock:
            self._running, self._wanted = prompt_id, False

    def end(self) -> None:
        """Note that no job runs."""
        with self._lock:
            self._running, self._wanted = None, False

    def request(self, prompt_id: str | None = None) -> bool:
        """Ask the running job to stop, or only if it is this one; return whether it was."""
        with self._lock:
            if self._running is None or prompt_id not in (None, self._running):
                return False
            self._wanted = True
            return True

    def check(self) -> None:
        """Stop here if the running job is to stop.

        Raises:
            InterruptedRunError: it is.
        """
        with self._lock:
            if self._wanted:
                raise InterruptedRunError
