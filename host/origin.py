"""Whether a browser page may talk to the host. Pure.

A page that the user happens to visit can send requests to 127.0.0.1; browsers then name the page
in ``Origin``. As ComfyUI does, a request is refused when both Host and Origin are sent, Host is a
loopback address, and they name different servers.
"""

import ipaddress
from urllib.parse import urlsplit


def is_foreign(host: str | None, origin: str | None) -> bool:
    """Return whether a request with these headers comes from another server's page."""
    if not host or not origin:
        return False
    try:
        here, there = urlsplit(f"//{host}"), urlsplit(origin)
        here_port, there_port = here.port, there.port
    except ValueError:
        return True
    if not here.hostname or not there.hostname or not _is_loopback(here.hostname):
        return False
    same_port = here_port is None or there_port is None or here_port == there_port
    return here.hostname != there.hostname or not same_port


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
