import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.answers import ImageRef
from core.job import State, job_id, needs
from core.journal import Entry, Journal, JournalError
from core.journal_file import director_at
from core.records import Records
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST

DATA = Path(__file__).with_name("data")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path, clock=lambda: 100.0)
    yield opened
    opened.close()


def add(journal: Journal, claim: str = "c1", file: str = "fox.txt", count: int = 2) -> None:
    requests = [replace(REQUEST, seed=number) for number in range(count)]
    enter(journal, requests, claim, file)


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
    taken = [take(journal) for _ in range(5)]
    assert [(job.claim, job.index) for job in taken if job] == [
        ("b", 1),
        ("b", 2),
        ("a", 1),
        ("a", 2),
    ]
    assert taken[-1] is None


def test_a_taken_job_is_sent_before_anything_is_posted(journal: Journal) -> None:
    add(journal)
    job = take(journal)
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
    job = take(journal)
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
    first = take(journal)
    assert first is not None
    assert journal.requeue(first.id)
    second = take(journal, "g")
    assert second is not None
    assert (second.id, second.attempts, second.host) == (first.id, 2, "g")


def test_a_claim_is_finished_when_its_last_job_is(journal: Journal) -> None:
    add(journal, count=2)
    for _ in range(2):
        assert journal.finished_claims() == []
        job = take(journal)
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
        "from core.journal import Entry, Journal\n"
        "from tests.sample_request import REQUEST\n"
        "j = Journal(Path(sys.argv[1]), clock=lambda: 1.0)\n"
        "j.add(Entry('c', 'f.txt', 'd', [REQUEST])); j.take([j.upcoming(1)[0].id], 'h')\n"
        "print('ok', flush=True)\n"
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


def test_what_must_survive_a_power_cut_is_synced_and_nothing_else(
    journal: Journal, tmp_path: Path
) -> None:
    def synced() -> bool:
        return bool(journal._read("PRAGMA synchronous")[0][0] == 2)

    add(journal, count=1)
    assert synced()
    job = take(journal)
    assert job is not None
    assert synced()
    journal.started(job.id)
    assert not synced()
    journal.rendered(job.id, [])
    assert not synced()
    journal.intends(job.id, [Path("x.png")])
    assert synced()
    reader = sqlite3.connect(tmp_path / "journal.sqlite")
    assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    reader.close()


def test_higher_priority_goes_first_and_age_decides_among_equals(journal: Journal) -> None:
    for claim, priority in (("low", -5), ("old", 0), ("new", 0), ("high", 9)):
        enter(journal, [REQUEST], claim, priority=priority)
    order = [job.claim for job in iter(lambda: take(journal), None)]
    assert order == ["high", "old", "new", "low"]


def test_a_host_is_not_offered_what_it_cannot_run(journal: Journal) -> None:
    other = replace(REQUEST, unet="other.gguf")
    enter(journal, [REQUEST, other])
    (offered,) = journal.upcoming(5, [needs(REQUEST)])
    assert offered.request == other
    assert journal.upcoming(5, [needs(REQUEST), needs(other)]) == []


def test_needs_differ_by_what_a_host_must_have_and_not_by_what_is_drawn() -> None:
    same = replace(REQUEST, prompt="else", seed=9, template="{a|b}", cell=(("seed", "9"),))
    assert needs(same) == needs(REQUEST)
    for other in ({"unet": "x"}, {"vae": "x"}, {"width": 512}, {"slots": (("a", 1),)}):
        assert needs(replace(REQUEST, **other)) != needs(REQUEST)


def test_only_one_of_two_hosts_gets_a_job(journal: Journal) -> None:
    add(journal, count=1)
    (job,) = journal.upcoming(1)
    assert [journal.take([job.id], "a"), journal.take([job.id], "b")] == [[job.id], []]
    assert journal.job(job.id).host == "a"


def test_a_cancelled_job_is_remembered_until_its_host_was_told(journal: Journal) -> None:
    add(journal, count=2)
    job = take(journal)
    assert job is not None
    assert journal.cancel(job.id)
    assert not journal.cancel(job.id)
    assert journal.to_withdraw("h") == [job.id]
    journal.withdrawn(job.id)
    assert journal.to_withdraw("h") == []
    assert journal.job(job.id).state is State.CANCELLED


def test_a_rendered_job_is_no_longer_cancelled(journal: Journal) -> None:
    add(journal, count=1)
    job = take(journal)
    assert job is not None
    journal.rendered(job.id, [])
    assert not journal.cancel(job.id)


def test_a_job_tried_again_starts_with_a_clean_slate(journal: Journal) -> None:
    add(journal, count=1)
    job = take(journal)
    assert job is not None
    journal.strike(job.id, "boom")
    assert journal.job(job.id).strikes == ("boom",)
    journal.failed(job.id, "boom again")
    journal.settle("c1", "/somewhere/fox.txt")
    assert journal.retry(job.id)
    assert not journal.retry(job.id)
    again = journal.job(job.id)
    assert (again.state, again.strikes, again.error) == (State.QUEUED, (), "")
    assert journal.claim("c1").place == ""
    assert not journal.is_finished("c1")


def test_pausing_holds_across_restarts(tmp_path: Path) -> None:
    first = Journal(tmp_path, clock=lambda: 1.0)
    first.pause(True)
    first.close()
    second = Journal(tmp_path, clock=lambda: 1.0)
    assert second.paused()
    second.pause(False)
    second.close()
    third = Journal(tmp_path, clock=lambda: 1.0)
    assert not third.paused()
    third.close()


def test_pruning_forgets_what_ended_and_was_put_away_and_nothing_else(journal: Journal) -> None:
    for claim in ("settled", "open", "unsettled"):
        add(journal, claim, count=2)
    for claim in ("settled", "unsettled"):
        for job in journal.of_claim(claim):
            journal.failed(job.id, "no")
    journal.settle("settled")
    assert journal.prune(before=100.0) == 0  # they ended at 100
    assert journal.prune(before=101.0) == 2
    assert {job.claim for job in journal.all()} == {"open", "unsettled"}
    assert not journal.knows("settled")
    assert journal.counts()[State.FAILED] == 2


def test_a_reader_sees_the_journal_beside_its_director(journal: Journal, tmp_path: Path) -> None:
    add(journal)
    beside = Records.beside(tmp_path)
    assert beside.all() == journal.all()
    assert director_at(tmp_path) == os.getpid()
    beside.close()


def test_a_reader_of_nothing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no director has run"):
        Records.beside(tmp_path)
    assert director_at(tmp_path) is None


def test_jobs_are_listed_by_state_batch_and_number(journal: Journal) -> None:
    journal.add(Entry("a", "a.txt", "d", [REQUEST] * 3, batch="night"))
    journal.add(Entry("b", "b.txt", "d", [REQUEST], batch="night/late"))
    journal.add(Entry("c", "c.txt", "d", [REQUEST], batch="nightly"))
    take(journal)
    assert [job.claim for job in journal.listed(batch="night")] == ["a", "a", "a", "b"]
    assert [job.claim for job in journal.listed(limit=2)] == ["b", "c"]
    assert [job.index for job in journal.listed((State.SENT,))] == [1]


def test_the_first_version_s_journal_is_brought_up_to_date(tmp_path: Path) -> None:
    shutil.copy(DATA / "journal-v1.sqlite", tmp_path / "journal.sqlite")
    journal = Journal(tmp_path, clock=lambda: 1.0)
    jobs = journal.all()
    assert [job.state for job in jobs] == [State.DONE, State.QUEUED]
    assert all(job.needs == needs(job.request) for job in jobs)
    assert take(journal) is not None
    journal.close()


class Moves(RuleBasedStateMachine):
    """Any order of moves: the tally is the table, and what ended stays ended."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = Journal(Path(self.folder.name), clock=lambda: 1.0)
        enter(self.journal, [REQUEST] * 3)
        self.ids = [job.id for job in self.journal.all()]
        self.done: set[str] = set()

    @rule(host=st.sampled_from("ab"))
    def taking(self, host: str) -> None:
        take(self.journal, host)

    @rule(
        which=st.integers(0, 2),
        move=st.sampled_from(
            ["started", "requeue", "lost", "done", "cancel", "retry", "withdrawn"]
        ),
    )
    def moving(self, which: int, move: str) -> None:
        moved = getattr(self.journal, move)(self.ids[which])
        if move == "done" and moved:
            self.done.add(self.ids[which])

    @rule(which=st.integers(0, 2))
    def rendering(self, which: int) -> None:
        self.journal.rendered(self.ids[which], [])

    @rule(which=st.integers(0, 2), words=st.sampled_from(["boom", "bang"]))
    def failing(self, which: int, words: str) -> None:
        self.journal.strike(self.ids[which], words)
        self.journal.failed(self.ids[which], words)

    @invariant()
    def tally_is_the_table(self) -> None:
        assert self.journal.counts() == Records.counts(self.journal)

    @invariant()
    def done_is_done(self) -> None:
        assert all(self.journal.job(job).state is State.DONE for job in self.done)

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
