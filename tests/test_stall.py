from hypothesis import given
from hypothesis import strategies as st

from bridge.tracker import Standing, Tracked
from core.stall import Advice, Stall, StallLimits

LIMITS = StallLimits(factor=10, least=60, load=900)


def at(step: int, node: str = "8", job: str = "j") -> Tracked:
    return Tracked(job, Standing.RUNNING, node, step, 20)


def stepped(*times: float) -> Stall:
    """A job whose steps 1, 2, ... came at these times."""
    stall = Stall(LIMITS)
    for step, time in enumerate(times, start=1):
        stall.note(at(step), time)
    return stall


def test_between_steps_a_multiple_of_the_longest_is_allowed() -> None:
    assert stepped(0, 20, 30).allowed() == 200


def test_quick_steps_still_have_the_least_time() -> None:
    assert stepped(0, 0.1, 0.2).allowed() == 60


def test_before_the_first_step_and_in_a_new_node_loading_time_is_allowed() -> None:
    stall = stepped(0)
    assert stall.allowed() == 900
    stall = stepped(0, 20, 30)
    stall.note(at(0, node="10"), 31)
    assert stall.allowed() == 900


def test_it_listens_anew_once_half_way_and_interrupts_at_the_end() -> None:
    stall = stepped(0, 20, 40)
    assert stall.advice("j", 139) is Advice.WAIT
    assert stall.advice("j", 141) is Advice.LISTEN_ANEW
    assert stall.advice("j", 142) is Advice.WAIT
    assert stall.advice("j", 239) is Advice.WAIT
    assert stall.advice("j", 241) is Advice.INTERRUPT


def test_a_step_after_listening_anew_clears_the_suspicion() -> None:
    stall = stepped(0, 20, 40)
    assert stall.advice("j", 150) is Advice.LISTEN_ANEW
    stall.note(at(4), 151)
    assert stall.advice("j", 241) is Advice.WAIT


def test_it_never_interrupts_without_having_listened_anew() -> None:
    stall = stepped(0, 20, 40)
    assert stall.advice("j", 10_000) is Advice.LISTEN_ANEW
    assert stall.advice("j", 10_000) is Advice.INTERRUPT


def test_the_same_news_again_is_no_progress() -> None:
    stall = stepped(0, 20, 40)
    stall.note(at(3), 200)
    assert stall.silent("j", 200) == 160


def test_a_job_that_is_not_watched_is_left_alone() -> None:
    stall = stepped(0, 20)
    assert stall.advice("other", 9e9) is Advice.WAIT
    assert stall.due("other") is None


@given(st.lists(st.floats(0.01, 50), min_size=2, max_size=30))
def test_a_job_that_keeps_its_pace_is_never_interrupted(gaps: list[float]) -> None:
    stall, now = Stall(LIMITS), 0.0
    for step, gap in enumerate(gaps, start=1):
        stall.note(at(step), now)
        now += gap
        assert stall.advice("j", now) is not Advice.INTERRUPT


@given(st.lists(st.floats(0.01, 50), min_size=1, max_size=30))
def test_what_is_due_is_when_the_advice_changes(times: list[float]) -> None:
    stall = stepped(*sorted(times))
    due = stall.due("j")
    assert due is not None
    assert stall.advice("j", due - 0.001) is Advice.WAIT
    assert stall.advice("j", due + 0.001) is Advice.LISTEN_ANEW
