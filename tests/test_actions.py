"""What a user may ask of the journal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.actions import DAY, Actions
from core.job import Job, State
from core.journal import Journal
from tests.journal_kit import enter, take
from tests.sample_request import REQUEST


@dataclass
class Spies:
    """Everyone the actions tell something."""

    withdrawn: list[tuple[str, str]] = field(default_factory=list)
    woken: int = 0
    freed: int = 0
    ended: list[str] = field(default_factory=list)
    reopened: list[tuple[str, str]] = field(default_factory=list)
    pruned: int = 0
    now: float = 100.0

    def withdraw(self, job: str, key: str) -> None:
        self.withdrawn.append((job, key))

    def wake(self) -> None:
        self.woken += 1

    def free(self) -> Sequence[str]:
        self.freed += 1
        return ["gpu"]

    def on_ended(self, job: Job) -> None:
        self.ended.append(job.id)

    def reopen(self, claim: str, place: str) -> None:
        self.reopened.append((claim, place))

    def prune(self) -> None:
        self.pruned += 1


@pytest.fixture
def spies() -> Spies:
    return Spies()


@pytest.fixture
def journal(tmp_path: Path, spies: Spies) -> Iterator[Journal]:
    opened = Journal(tmp_path, clock=lambda: spies.now)
    enter(opened, [REQUEST] * 3)
    yield opened
    opened.close()


@pytest.fixture
def actions(journal: Journal, spies: Spies) -> Actions:
    clock = lambda: spies.now  # noqa: E731 - one expression, used once
    return Actions(journal, clock, spies.on_ended, spies.reopen, spies.prune, spies)


def test_cancelling_takes_exactly_one_job_off(
    journal: Journal, actions: Actions, spies: Spies
) -> None:
    on_host = take(journal)
    assert on_host is not None
    told = actions.do({"do": "cancel", "jobs": [on_host.id[:8]]})
    assert told.ok
    assert spies.withdrawn == [(on_host.id, "h")]
    assert spies.ended == [on_host.id]
    states = [job.state for job in journal.all()]
    assert states == [State.CANCELLED, State.QUEUED, State.QUEUED]


def test_an_id_that_fits_several_or_none_cancels_nothing(
    journal: Journal, actions: Actions
) -> None:
    for name in ("", "zz", "%"):
        assert not actions.cancel([name]).ok
    enter(journal, [REQUEST] * 40, claim="many")  # 43 ids, 16 first letters
    told = [actions.cancel([letter]) for letter in "0123456789abcdef"]
    assert any("several" in line for one in told for line in one.lines)
    assert journal.counts()[State.CANCELLED] == sum(one.ok for one in told)


def test_what_has_ended_cannot_be_cancelled(journal: Journal, actions: Actions) -> None:
    job = take(journal)
    assert job is not None
    journal.failed(job.id, "boom")
    told = actions.cancel([job.id])
    assert not told.ok
    assert "failed already" in told.lines[0]


def test_retry_failed_queues_all_that_failed_and_opens_their_files(
    journal: Journal, actions: Actions, spies: Spies
) -> None:
    for _ in range(2):
        job = take(journal)
        assert job is not None
        journal.failed(job.id, "boom")
    journal.settle("c", "/inbox/failed/fox.txt")
    assert actions.do({"do": "retry", "jobs": ["failed"]}).ok
    assert journal.counts()[State.QUEUED] == 3
    assert spies.reopened[0] == ("c", "/inbox/failed/fox.txt")
    assert spies.woken == 1


def test_retrying_what_did_not_fail_is_refused_with_the_reason(
    journal: Journal, actions: Actions
) -> None:
    told = actions.retry([journal.all()[0].id])
    assert not told.ok
    assert "is queued" in told.lines[0]


def test_pause_and_resume_are_told_to_the_hosts(
    journal: Journal, actions: Actions, spies: Spies
) -> None:
    told = actions.do({"do": "pause", "free": True})
    assert journal.paused()
    assert spies.freed == 1
    assert "gpu" in told.lines[1]
    actions.do({"do": "resume"})
    assert not journal.paused()
    assert spies.woken == 2


def test_pruning_forgets_old_jobs_and_what_only_they_needed(
    journal: Journal, actions: Actions, spies: Spies
) -> None:
    for job in journal.all():
        journal.failed(job.id, "boom")
    journal.settle("c")
    spies.now += 2 * DAY
    assert actions.do({"do": "prune", "days": 3}).lines == (
        "forgot 0 jobs that ended over 3 days ago",
    )
    assert actions.do({"do": "prune", "days": 1}).lines == (
        "forgot 3 jobs that ended over 1 days ago",
    )
    assert spies.pruned == 2


def test_an_unknown_wish_is_refused(actions: Actions) -> None:
    assert not actions.do({"do": "explode"}).ok
