"""JSON in and out of HTTP bodies. Pure.

Python's parser takes NaN, Infinity and 1e999, which no client can read again in ``/history``;
they are refused here once, so nothing later has to think of them.
"""

import json
import math
from typing import Any, NoReturn

from starlette.responses import Response


class BadJsonError(ValueError):
    """The body is not JSON; the sentence says why."""


def parse(body: bytes) -> Any:
    """Return the value of a JSON body.

    Raises:
        BadJsonError: it is not JSON, is nested too deeply, or holds a number that is not finite.
    """
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise BadJsonError("the body is nested too deeply") from None
    except ValueError as error:
        raise BadJsonError(f"the body is not JSON: {error}") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


class JsonResponse(Response):
    """A JSON answer; ASCII only, because a prompt may hold lone surrogates that UTF-8 cannot."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content).encode()
