"""What is said of files that cannot be used: each thing once, for as long as it lasts.

A folder is scanned again and again, and a line each time would bury the log; so would a line for
each of ten thousand files.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

MOST = 20  # lines between two rounds
LULL = 60.0  # seconds a thing must not have come up to be news again


@dataclass(slots=True)
class _Notice:
    since: float
    last: float
    is_told: bool = False


class Notices:
    """Remembers what was said.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._notices: dict[str, _Notice] = {}
        self._lines = 0

    def next_round(self) -> None:
        """Forget what has not come up for a while, and say how much was left unsaid."""
        if self._lines > MOST:
            logger.info("%d more of these are not listed", self._lines - MOST)
        self._lines = 0
        long_ago = self._clock() - LULL
        for about in [key for key, notice in self._notices.items() if notice.last < long_ago]:
            del self._notices[about]

    def tell(
        self,
        about: str,
        message: str,
        *arguments: object,
        level: int = logging.INFO,
        after: float = 0.0,
    ) -> None:
        """Say something about a thing, unless it has been said.

        Args:
            about: the thing, as a key.
            message: with ``%s`` for the arguments.
            arguments: as for a logger.
            level: a logging level; INFO by default.
            after: seconds it must have lasted before it is worth a line.
        """
        now = self._clock()
        notice = self._notices.setdefault(about, _Notice(now, now))
        notice.last = now
        if notice.is_told or now - notice.since < after:
            return
        notice.is_told = True
        self._lines += 1
        if self._lines <= MOST:
            logger.log(level, message, *arguments)

    def since(self, about: str) -> float | None:
        """Return since when a thing has come up, if it has."""
        notice = self._notices.get(about)
        return notice.since if notice else None
