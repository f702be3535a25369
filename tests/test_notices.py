import logging

import pytest

from core import notices
from core.notices import Notices


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_thing_is_told_once_and_again_after_a_lull(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    told = Notices(lambda: now[0])
    for second in (0.0, 1.0, notices.LULL, notices.LULL + 1):
        now[0] = second
        told.next_round()
        told.tell("a", "%s is odd", "a")
    assert caplog.messages == ["a is odd"]
    assert told.since("a") == 0.0
    now[0] += notices.LULL + 1
    told.next_round()
    assert told.since("a") is None
    told.tell("a", "%s is odd", "a")
    assert caplog.messages == ["a is odd"] * 2


def test_what_may_pass_is_told_only_when_it_stays(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    told = Notices(lambda: now[0])
    told.tell("a", "a is odd", after=2.0)
    assert caplog.messages == []
    now[0] = 2.0
    told.tell("a", "a is odd", after=2.0)
    assert caplog.messages == ["a is odd"]


def test_ten_thousand_odd_files_are_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    told = Notices(lambda: 0.0)
    for _ in range(3):
        for number in range(10_000):
            told.tell(str(number), "%d is odd", number)
        told.next_round()
    assert len(caplog.messages) == notices.MOST + 1
    assert caplog.messages[-1] == f"{10_000 - notices.MOST} more of these are not listed"
