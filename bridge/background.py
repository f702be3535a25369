"""Work that may hang, done in a thread that nobody has to wait for.

A pool would be joined when the process ends, and with it whatever hangs; these are daemons, and
a caller that has waited long enough goes on without them.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def begin(work: Callable[[], Result], name: str) -> "Future[Result]":
    """Start ``work``; its result, or its error, arrives in the future.

    Args:
        work: what to do.
        name: of the thread, for whoever looks at them.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried to whoever waits, not swallowed
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
