"""Whether a browser page may talk to the host. Pure.

A page that the user happens to visit can send requests to 127.0.0.1; browsers then name the page
in ``Origin``, or say that it is another site's in ``Sec-Fetch-Site``. As ComfyUI does, a request is
refused when both Host and Origin are sent, Host is a loopback address, and they name different
servers.

A page can also have its own name lead to 127.0.0.1 (DNS rebinding); then Host and Origin agree.
ComfyUI lets that pass. Here a Host that is a name of the public DNS is refused, as only such a name
can be turned that way: addresses, names without a dot and the private endings below cannot. Where
a token is asked for, it decides instead, and any other origin is foreign.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

_PRIVATE = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
"""Endings that public DNS servers do not answer for (RFC 6761, 6762, 8375)."""


def is_foreign(headers: Mapping[str, str], *, has_token: bool = False) -> bool:
    """Return whether a request with these headers comes from another server's page."""
    host, origin = headers.get("host"), headers.get("origin")
    if headers.get("sec-fetch-site") == "cross-site" and not has_token:
        return True
    if not host:
        return False
    try:
        here = urlsplit(f"//{host}")
        rebound = not has_token and _is_public(here.hostname)
        return rebound or _differ(here, urlsplit(origin or ""), everywhere=has_token)
    except ValueError:
        return bool(origin)


def _differ(here: SplitResult, there: SplitResult, *, everywhere: bool) -> bool:
    if not here.hostname or not there.hostname:
        return False
    if not (everywhere or _is_loopback(here.hostname)):
        return False
    here_port, there_port = here.port, there.port
    same_port = here_port is None or there_port is None or here_port == there_port
    return here.hostname != there.hostname or not same_port


def _is_public(name: str | None) -> bool:
    name = (name or "").rstrip(".")
    return "." in name and not name.endswith(_PRIVATE) and not _is_address(name)


def _is_loopback(name: str) -> bool:
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
