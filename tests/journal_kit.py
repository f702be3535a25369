"""Short ways to fill and work off a journal in tests."""

from collections.abc import Sequence

from bridge.request import Request
from core.job import Job
from core.journal import Entry, Journal


def enter(
    journal: Journal,
    requests: Sequence[Request],
    claim: str = "c",
    file: str = "fox.txt",
    priority: int = 0,
) -> None:
    """Enter one claim of 2 January 2026."""
    journal.add(Entry(claim, file, "2026-01-02", requests, priority=priority))


def take(journal: Journal, host: str = "h") -> Job | None:
    """Give the next job to a host, as a host's worker does."""
    taken = journal.take([job.id for job in journal.upcoming(1)], host)
    return journal.job(taken[0]) if taken else None
