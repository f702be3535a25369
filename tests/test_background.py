import threading

import pytest

from bridge import background


def test_the_result_arrives_in_the_future() -> None:
    assert background.begin(lambda: 42, "answer").result(10) == 42


def test_an_error_arrives_there_too() -> None:
    def fail() -> None:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        background.begin(fail, "boom").result(10)


def test_whoever_waits_may_stop_waiting() -> None:
    over = threading.Event()
    future = background.begin(over.wait, "slow")
    with pytest.raises(TimeoutError):
        future.result(0.05)
    over.set()
    assert future.result(10)
