"""The journal when its disk fails, when it is closed under a thread, and when it is shared."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.job import State
from core.journal import Journal, JournalError
from core.records import Records
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path, time.time)
    enter(opened, [REQUEST] * 3)
    yield opened
    opened.close()


def test_what_cannot_be_read_is_the_journal_s_trouble_not_the_job_s(journal: Journal) -> None:
    with sqlite3.connect(":memory:") as other:
        broken = Records(other)
    with pytest.raises(JournalError, match="cannot be read"):
        broken.job("x")


def test_a_thread_that_outlives_the_journal_is_told_so(tmp_path: Path) -> None:
    closed = Journal(tmp_path / "other", time.time)
    closed.close()
    with pytest.raises(JournalError):
        closed.done("x")
    with pytest.raises(JournalError):
        closed.settle("c")


def test_the_tally_holds_when_jobs_move_while_others_are_pruned(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Records.counts
    mover = threading.Thread(target=take, args=(journal,))

    def slow(records: Records) -> dict[State, int]:
        told = real(records)
        if not mover.ident:
            mover.start()
            mover.join(0.3)
        return told

    monkeypatch.setattr(Records, "counts", slow)
    journal.prune(0.0)
    mover.join()
    assert journal.counts() == real(journal)


def test_whether_a_long_claim_is_finished_is_not_found_by_reading_all_its_jobs(
    journal: Journal,
) -> None:
    query = "EXPLAIN QUERY PLAN SELECT 1 FROM jobs WHERE claim = ? AND state IN ('queued', 'sent')"
    (plan,) = journal._read(query, "c")
    assert "claim=? AND state=?" in plan["detail"]
