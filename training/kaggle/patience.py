"""Asks again what the network did not let through, with growing pauses, a bounded number of times.

Knows which failures pass by themselves (no connection, a cut one, 5xx, 429) and what to call the
others; does not know what is asked. Reasons name neither addresses nor headers: Kaggle's download
links carry signatures.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from training.kaggle import cloud_errors

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - names what happened
    """A file did not go through as a whole; asking again goes on with it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on asking.

    Attributes:
        pauses: seconds to wait before each further attempt.
        longest: seconds of a ``Retry-After`` that are sat through.
        connect: seconds until a connection is given up.
        silence: seconds without a byte until an answer is given up.
        sleep: waits; a test gives another one.
    """

    pauses: tuple[float, ...] = (1, 2, 4, 8, 16, 30)
    longest: float = 120.0
    connect: float = 15.0
    silence: float = 90.0
    sleep: Callable[[float], None] = time.sleep

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """Call until it answers.

        Raises:
            CloudError: it did not, in all attempts, or said no.
        """
        for pause in self.pauses:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - sorted out; what is not known is raised
                self.sleep(max(pause, self._wait(doing, error)))
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - as above
            _give_up(doing, error)

    def _wait(self, doing: str, error: Exception) -> float:
        """Return how long Kaggle asks to wait; raise what waiting does not help."""
        if not passes(error):
            _give_up(doing, error)
        wanted = _retry_after(error)
        if wanted > self.longest:
            raise cloud_errors.asked_to_wait(doing, wanted) from error
        return wanted


def passes(error: Exception) -> bool:
    """Tell whether a failure may pass by itself."""
    import requests  # comes with Kaggle's package, and is as slow to load
    import urllib3

    if isinstance(error, cloud_errors.CloudError):
        return False  # was asked often enough, one call further in
    passing = (
        Interrupted,
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.JSONDecodeError,  # a proxy's page, or an answer cut short
        urllib3.exceptions.ProtocolError,
        ConnectionError,
        TimeoutError,
    )
    status = status_of(error)
    return isinstance(error, passing) or status == 429 or status >= 500


def status_of(error: BaseException) -> int:
    """Return the HTTP status behind an error, 0 for none.

    Kaggle's package turns some into a ValueError, and leaves the first one as its context.
    """
    seen: BaseException | None = error
    while seen is not None:
        status = getattr(getattr(seen, "response", None), "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
        seen = seen.__cause__ or seen.__context__
    return 0


def translated(doing: str, error: Exception) -> Exception:
    """Return an error as a sentence, or itself if it is one already, or is not the network's."""
    if isinstance(error, cloud_errors.CloudError):
        return error
    if status := status_of(error):
        return cloud_errors.answered(doing, status, words_of(error))
    if passes(error):
        return cloud_errors.unreachable(doing, _reason(error))
    return error


def _give_up(doing: str, error: Exception) -> NoReturn:
    said = translated(doing, error)
    if said is error:
        raise error
    raise said from error


def words_of(error: BaseException) -> str:
    """Return what Kaggle says in an error answer; empty where it only gave a status."""
    response: Any = getattr(error, "response", None)
    if response is None and error.__context__ is not None:
        return words_of(error.__context__)
    try:
        table: Any = response.json()
        words = table.get("message") if isinstance(table, dict) else None
    except (ValueError, AttributeError, RuntimeError, OSError):
        return ""
    return " ".join(str(words).split())[:300].rstrip(". ") if words else ""


def _retry_after(error: Exception) -> float:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:  # a date: the pauses must do
        return 0.0


def _reason(error: BaseException) -> str:
    """Say in plain words how the connection failed, by the innermost cause."""
    kinds = {type(found).__name__ for found in _chain(error)}
    reasons = {
        "ProxyError": "the proxy does not answer",
        "SSLError": "no secure connection comes about",
        "NameResolutionError": "its name is not found: is there a network?",
        "gaierror": "its name is not found: is there a network?",
        "ConnectionRefusedError": "the connection is refused",
        "ConnectTimeout": "no connection comes about in time",
        "ReadTimeout": "it does not answer in time",
        "JSONDecodeError": "it answers with something that is not its own",
        "Interrupted": str(error),
    }
    found = [said for kind, said in reasons.items() if kind in kinds]
    return found[0] if found else "the connection breaks off"


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and all that is wrapped in it."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found
