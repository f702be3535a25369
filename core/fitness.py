"""Which kinds of jobs which host can run, as far as the hosts were asked.

A kind is a job's :func:`~core.job.needs`. Hosts answer for themselves, each from its own thread;
a kind that every host of the run refuses is hopeless, and its jobs are failed with what the hosts
said. As long as one host has not been asked (it is away), they wait for it.
"""

import threading
from collections.abc import Iterable

from bridge.errors import BridgeError


class UnfitError(BridgeError):
    """No host can run a job; the message says what each lacks."""


class Fitness:
    """What the hosts of one run said.

    Args:
        hosts: names of all of them.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = tuple(hosts)
        self._lock = threading.Lock()
        self._lacking: dict[str, dict[str, str]] = {}

    def note(self, host: str, needs: str, lacks: str) -> None:
        """Note what a host lacks for a kind of job; empty when it has everything."""
        with self._lock:
            told = self._lacking.setdefault(needs, {})
            if lacks:
                told[host] = lacks
            else:
                told.pop(host, None)

    def hopeless(self, needs: str) -> str:
        """Return why no host can run this kind; empty while one can or was not asked."""
        with self._lock:
            told = self._lacking.get(needs, {})
            if not self._hosts or any(host not in told for host in self._hosts):
                return ""
            if len(self._hosts) == 1:
                return told[self._hosts[0]]
            return "no host can run it: " + "; ".join(f"{h}: {told[h]}" for h in self._hosts)
