import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.answers import ImageRef
from core.job import State, job_id
from core.journal import Journal, JournalError
from tests.sample_request import REQUEST


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path, clock=lambda: 100.0)
    yield opened
    opened.close()


def add(journal: Journal, claim: str = "c1", file: str = "fox.txt", count: int = 2) -> None:
    requests = [replace(REQUEST, seed=number) for number in range(count)]
    journal.add(claim, file, "2026-01-02", requests)


def test_adding_a_claim_twice_is_adding_it_once(journal: Journal) -> None:
    add(journal)
    add(journal, count=5)
    assert len(journal.of_claim("c1")) == 2


def test_ids_derive_from_claim_and_index(journal: Journal) -> None:
    add(journal)
    assert [job.id for job in journal.of_claim("c1")] == [job_id("c1", 1), job_id("c1", 2)]
    assert job_id("c1", 1) != job_id("c2", 1)


def test_jobs_are_taken_in_the_order_they_came(journal: Journal) -> None:
    add(journal, "b")
    add(journal, "a")
    taken = [journal.take("h") for _ in range(5)]
    assert [(job.claim, job.index) for job in taken if job] == [
        ("b", 1),
        ("b", 2),
        ("a", 1),
        ("a", 2),
    ]
    assert taken[-1] is None


def test_a_taken_job_is_sent_before_anything_is_posted(journal: Journal) -> None:
    add(journal)
    job = journal.take("h")
    assert job is not None
    assert (job.state, job.host, job.attempts, job.sent) == (State.SENT, "h", 1, 100.0)


def test_names_say_day_file_and_index_and_never_repeat(journal: Journal) -> None:
    add(journal, "c1", count=1)
    add(journal, "c2", count=1)
    add(journal, "c3", file="owl.md", count=1)
    names = [journal.of_claim(claim)[0].name for claim in ("c1", "c2", "c3")]
    assert names == ["2026-01-02_fox_001", "2026-01-02_fox-2_001", "2026-01-02_owl_001"]


def test_a_step_that_comes_too_late_changes_nothing(journal: Journal) -> None:
    add(journal, count=1)
    job = journal.take("h")
    assert job is not None
    image = ImageRef("f.png", "s", "output")
    assert journal.rendered(job.id, [image])
    assert not journal.started(job.id)
    assert not journal.rendered(job.id, [image])
    assert journal.intends(job.id, [Path("/x.png")])
    assert journal.done(job.id)
    assert not journal.done(job.id)
    assert not journal.requeue(job.id)
    assert not journal.failed(job.id, "late")
    assert journal.job(job.id).paths == (Path("/x.png"),)


def test_a_job_queued_anew_keeps_its_id_and_counts_its_attempts(journal: Journal) -> None:
    add(journal, count=1)
    first = journal.take("h")
    assert first is not None
    assert journal.requeue(first.id)
    second = journal.take("g")
    assert second is not None
    assert (second.id, second.attempts, second.host) == (first.id, 2, "g")


def test_a_claim_is_finished_when_its_last_job_is(journal: Journal) -> None:
    add(journal, count=2)
    for _ in range(2):
        assert journal.finished_claims() == []
        job = journal.take("h")
        assert job is not None
        journal.failed(job.id, "no")
    assert journal.finished_claims() == ["c1"]
    journal.settle("c1")
    assert journal.finished_claims() == []


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    first = Journal(tmp_path, clock=lambda: 1.0)
    add(first)
    before = first.of_claim("c1")
    first.close()
    second = Journal(tmp_path, clock=lambda: 2.0)
    assert second.of_claim("c1") == before
    second.close()


def test_a_second_director_is_kept_out_and_told_who_is_there(
    journal: Journal, tmp_path: Path
) -> None:
    with pytest.raises(JournalError, match=str(os.getpid())):
        Journal(tmp_path, clock=lambda: 0.0)


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"something else entirely" * 50)
    with pytest.raises(JournalError, match="move it away"):
        Journal(tmp_path, clock=lambda: 0.0)
    assert (tmp_path / "journal.sqlite").read_bytes().startswith(b"something else")


def test_a_disk_that_is_full_is_an_error_that_says_so_and_loses_nothing(
    journal: Journal,
) -> None:
    add(journal, count=1)
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="cannot be written"):
        add(journal, "c2", count=500)
    journal._db.execute("PRAGMA max_page_count = 100000")
    assert len(journal.all()) == 1
    add(journal, "c2", count=500)
    assert len(journal.all()) == 501


def test_a_committed_step_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from core.journal import Journal\n"
        "from tests.sample_request import REQUEST\n"
        "j = Journal(Path(sys.argv[1]), clock=lambda: 1.0)\n"
        "j.add('c', 'f.txt', 'd', [REQUEST]); j.take('h'); print('ok', flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(root)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ok\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    reopened = Journal(tmp_path, clock=lambda: 2.0)
    (job,) = reopened.on_host()
    assert (job.state, job.host) == (State.SENT, "h")
    reopened.close()


def test_every_commit_is_synced(journal: Journal, tmp_path: Path) -> None:
    add(journal)
    reader = sqlite3.connect(tmp_path / "journal.sqlite")
    (mode,) = reader.execute("PRAGMA journal_mode").fetchone()
    reader.close()
    assert mode == "wal"
    assert journal._read("PRAGMA synchronous")[0][0] == 2
