"""One GET to a URL of which nothing is known, and what exactly came of it.

A port may be closed, swallow connections (mirrored networking, firewalls), take them and say
nothing, talk something else than HTTP, or be another server: each has another cure, so each is
told apart here. Whether a ComfyUI that answers is of use is :mod:`bridge.discovery`'s to find out.

Proxies of the environment are not used, as in :mod:`bridge.client`; and the request says
``Origin`` as the socket will, so that a host which refuses our socket refuses us here already.
"""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

import httpx
from pydantic import ValidationError

from bridge import answers
from bridge.answers import HostFacts

MOST_READ = 1 << 20  # bytes of an answer; ComfyUI's has about 2000


class Reached(StrEnum):
    """What became of one URL."""

    COMFYUI = "comfyui"
    REFUSED = "refused"
    SWALLOWED = "swallowed"  # the connection is neither taken nor refused
    NO_WAY = "no way"  # no such name, no route, TLS that fails, or no URL at all
    SILENT = "silent"
    NOT_HTTP = "not http"
    NOT_COMFYUI = "not comfyui"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Contact:
    """What one URL said.

    Attributes:
        reached: which of the cases.
        why: the sentence for it, with what to do; empty for a ComfyUI.
        facts: what a ComfyUI says of itself.
        date: its clock when it answered, seconds since the epoch; ``None`` if it did not say.
    """

    reached: Reached
    why: str = ""
    facts: HostFacts | None = None
    date: float | None = None


def origin(url: str) -> str:
    """Return the Origin of a URL, spelled as the Host header is.

    ComfyUI answers 403 when the two differ, be it only ``localhost`` and ``127.0.0.1``.
    """
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def reach(url: str, connect_timeout: float, patience: float) -> Contact:
    """Ask for ``/system_stats`` and tell what came of it; raises nothing.

    Args:
        url: base URL.
        connect_timeout: seconds until a connection counts as swallowed.
        patience: seconds for the whole answer. A server that sends a byte now and then may take
            longer; give the call a thread where that matters.
    """
    try:
        with (
            httpx.Client(
                timeout=httpx.Timeout(patience, connect=connect_timeout),
                headers={"Origin": origin(url)},
                trust_env=False,
            ) as client,
            client.stream("GET", f"{url}/system_stats") as answer,
        ):
            return _read(answer, time.monotonic() + patience)
    except httpx.ConnectTimeout:
        return Contact(Reached.SWALLOWED, _SWALLOWED.format(seconds=connect_timeout))
    except httpx.ConnectError as error:
        return _no_connection(error)
    except httpx.TimeoutException:
        return Contact(Reached.SILENT, _SILENT.format(seconds=patience))
    except httpx.UnsupportedProtocol as error:
        return _no_url(error)
    except httpx.HTTPError as error:
        return Contact(Reached.NOT_HTTP, _NOT_HTTP.format(error=error or type(error).__name__))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        return _no_url(error)


_REFUSED = "refuses the connection: nothing listens there; start ComfyUI"
_SWALLOWED = (
    "does not answer within {seconds:g} s: nothing listens there, or a firewall drops what comes"
)
_SILENT = (
    "takes the connection and does not answer within {seconds:g} s: "
    "it hangs, or is no HTTP server; restart it"
)
_NOT_HTTP = "does not speak HTTP ({error}): another program has this port"
_FORBIDDEN = (
    "answers 403 although Origin and Host agree: a proxy or a login stands before it; "
    "use the address of ComfyUI itself"
)


def _no_url(error: Exception) -> Contact:
    return Contact(Reached.NO_WAY, f"is no URL ({error}); write http://ADDRESS:PORT")


def _no_connection(error: httpx.ConnectError) -> Contact:
    causes = list(_causes(error))
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return Contact(Reached.REFUSED, _REFUSED)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Contact(Reached.NO_WAY, f"fails at TLS ({error}); write http:// if it has none")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Contact(Reached.NO_WAY, "is a name that nobody knows; write the IP address")
    return Contact(Reached.NO_WAY, f"cannot be reached ({error}); check address and network")


def _causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _read(answer: httpx.Response, until: float) -> Contact:
    if answer.status_code == 403:
        return Contact(Reached.FORBIDDEN, _FORBIDDEN)
    if not answer.is_success:
        return Contact(Reached.NOT_COMFYUI, _stranger(answer, f"answers {answer.status_code}"))
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > MOST_READ or time.monotonic() > until:
            return Contact(Reached.NOT_COMFYUI, _stranger(answer, "answers without an end"))
    try:
        facts = answers.facts(json.loads(body))
    except (ValidationError, ValueError, RecursionError):
        why = _stranger(answer, "gives what is not ComfyUI's answer")
        return Contact(Reached.NOT_COMFYUI, why)
    return Contact(Reached.COMFYUI, facts=facts, date=_date(answer))


def _stranger(answer: httpx.Response, what: str) -> str:
    """Name a server that is no ComfyUI by what it says of itself."""
    says = answer.headers.get("server", "")[:60]
    leads = answer.headers.get("location", "")[:100]
    told = [f"it calls itself {says}"] * bool(says) + [f"it leads to {leads}"] * bool(leads)
    known = f" ({', '.join(told)})" if told else ""
    return f"{what} to /system_stats{known}: another program has this port"


def _date(answer: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
