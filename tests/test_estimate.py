import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core import estimate
from core.journal import Journal
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def rendered(state: Path, *seconds: float, host: str = "embedded", steps: int = 3) -> None:
    """A journal in which jobs took so long."""
    clock = Clock()
    journal = Journal(state, clock)
    for number, took in enumerate(seconds):
        enter(journal, [replace(REQUEST, steps=steps)], f"{host}{number}")
        job = take(journal, host)
        assert job
        clock.now += 50
        journal.started(job.id)
        clock.now += took
        journal.rendered(job.id, [])
        journal.done(job.id)
    journal.close()


def test_the_median_job_counts_scaled_by_steps_pixels_batch_and_cfg(tmp_path: Path) -> None:
    rendered(tmp_path, 2.0, 3.0, 100.0)
    found = estimate.paces(tmp_path, REQUEST.unet)
    (same,) = estimate.estimates([REQUEST], found)
    assert same.seconds == pytest.approx(3.0)
    assert same.jobs == 3
    other = replace(REQUEST, steps=6, width=128, batch=2, cfg=2.0)
    (more,) = estimate.estimates([other, other], found)
    assert more.seconds == pytest.approx(3.0 * 2 * 2 * 2 * 2 * 2)


def test_each_host_has_its_own_pace_and_the_last_used_comes_first(tmp_path: Path) -> None:
    rendered(tmp_path, 1.0, 1.0, host="http://a")
    time_after = Clock
    time_after.now = 9000.0
    rendered(tmp_path, 5.0, host="embedded")
    time_after.now = 1000.0
    found = estimate.estimates([REQUEST], estimate.paces(tmp_path, REQUEST.unet))
    assert [(one.host, round(one.seconds, 3)) for one in found] == [
        ("embedded", 5),
        ("http://a", 1),
    ]


def test_another_unet_is_no_history(tmp_path: Path) -> None:
    rendered(tmp_path, 2.0)
    assert estimate.paces(tmp_path, "another.gguf") == []


def test_a_missing_journal_or_a_strange_one_is_no_history(tmp_path: Path) -> None:
    assert estimate.paces(tmp_path, "x") == []
    assert list(tmp_path.iterdir()) == [], "nothing is made"
    (tmp_path / "journal.sqlite").write_bytes(b"no database at all, but long enough" * 100)
    assert estimate.paces(tmp_path, "x") == []
    (tmp_path / "journal.sqlite").unlink()
    sqlite3.connect(tmp_path / "journal.sqlite").close()
    assert estimate.paces(tmp_path, "x") == []


def test_a_journal_in_use_is_read_without_being_touched(tmp_path: Path) -> None:
    rendered(tmp_path, 2.0)
    before = sorted(tmp_path.iterdir())
    assert len(estimate.paces(tmp_path, REQUEST.unet)) == 1
    assert sorted(tmp_path.iterdir()) == before
    journal = Journal(tmp_path, time.time)
    try:
        assert len(estimate.paces(tmp_path, REQUEST.unet)) == 1
    finally:
        journal.close()
