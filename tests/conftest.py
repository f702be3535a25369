"""Shared by all tests: nobody's own settings leak in, and small helpers."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from hypothesis import settings

# A shell starts background jobs deaf to Ctrl-C, and so are then the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Other programs may hold the machine up; a slow example is no failure. The same examples each time,
# so that no change fails for what it did not touch; `make explore` looks for new ones.
settings.register_profile("vulcan", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("vulcan")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("VULCAN_"):
            monkeypatch.delenv(name)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds, and fails when it never does."""

    def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s")

    return wait
