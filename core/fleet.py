"""All hosts of a run: one loop and one thread each, one journal between them.

What one host gives up, another takes; who is told what is decided here.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bridge.errors import HostError
from core.run_loop import RunLoop
from core.tools import Free, Withdraw

logger = logging.getLogger(__name__)


class Fleet:
    """The hosts of one run."""

    def __init__(self) -> None:
        self._loops: list[RunLoop] = []

    def add(self, loop: RunLoop) -> None:
        """Add a host's loop, before :meth:`run`."""
        self._loops.append(loop)

    def others_work(self, name: str) -> bool:
        """Tell whether a host other than this one is at work."""
        return any(loop.at_work for loop in self._loops if loop.name != name)

    def has(self, key: str) -> bool:
        """Tell whether a host, as the journal calls it, is one of this run's."""
        return any(loop.key == key for loop in self._loops)

    def run(self, guarded: Callable[[Callable[[], None]], None]) -> None:
        """Work with all hosts until stopped.

        Args:
            guarded: runs a thread's work and carries its error away.
        """
        threads = [
            threading.Thread(target=guarded, args=(loop.run,), name=loop.name, daemon=True)
            for loop in self._loops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def wake(self) -> None:
        """Say that the journal has new work."""
        for loop in self._loops:
            loop.wake()

    def stop(self) -> None:
        """Finish what runs and take nothing new."""
        for loop in self._loops:
            loop.stop()

    def abort(self) -> None:
        """Interrupt what runs, on all hosts at once."""
        with ThreadPoolExecutor(max(1, len(self._loops))) as threads:
            list(threads.map(_abort, self._loops))

    def withdraw(self, job: str, key: str) -> None:
        """Have a cancelled job taken off its host."""
        for loop in self._loops:
            if key and loop.key == key:
                loop.tell(Withdraw(job))

    def free(self) -> Sequence[str]:
        """Let all hosts give their memory back once idle; return their names."""
        for loop in self._loops:
            loop.tell(Free())
        return [loop.name for loop in self._loops if loop.at_work]


def _abort(loop: RunLoop) -> None:
    try:
        loop.abort()
    except HostError as error:
        logger.warning("%s; its job may go on there", error)
