"""Where the next host comes from: a ComfyUI that answers, or a child of our own.

Turns the setting ``host.use`` into a base URL with the reason for it, each time one is needed
anew. Choosing is logged once per choice, not once per try.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge import discovery
from core.host_process import HostProcess

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
AUTO = "auto"
RETRY_AFTER = 3.0  # seconds between looks at a host that is not there


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host to work with.

    Attributes:
        key: what the journal calls it; stays the same when an embedded host gets a new port.
        url: base URL.
        reason: why this one.
    """

    key: str
    url: str
    reason: str


class HostSource:
    """Finds or starts hosts.

    Args:
        use: auto, embedded, or a URL.
        candidates: URLs that ``auto`` tries, in this order.
        process: starts the embedded host.
        connect_timeout: seconds per probe.
        comeback: seconds that ``auto`` waits for a ComfyUI it has worked with before it falls
            back to the embedded host; a restart takes ComfyUI 6 to 13 of them.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        use: str,
        candidates: Sequence[str],
        process: HostProcess,
        connect_timeout: float,
        comeback: float,
        clock: Callable[[], float],
    ) -> None:
        self._use, self._candidates = use, tuple(candidates)
        self._process, self._timeout = process, connect_timeout
        self._comeback, self._clock = comeback, clock
        self._worked_with_comfyui = False
        self._said = ""

    def acquire(self, unet: str, stopped: threading.Event) -> HostAddress | None:
        """Return a host that can run jobs with this unet; ``None`` once ``stopped``.

        An external host named by URL is waited for: it may be started at any time.

        Raises:
            HostProcessError: the embedded host does not start.
        """
        since = self._clock()
        while not stopped.is_set():
            away = self._clock() - since
            address = self._find(unet, may_fall_back=away >= self._comeback)
            if address:
                self._say(f"host {address.url}: {address.reason}")
                return address
            stopped.wait(RETRY_AFTER)
        return None

    def _find(self, unet: str, may_fall_back: bool) -> HostAddress | None:
        if self._use == EMBEDDED:
            return self._embedded("as asked for")
        urls = self._candidates if self._use == AUTO else (self._use,)
        probes = discovery.probe_all(urls, unet, self._timeout)
        if probes and probes[-1].usable:
            found = probes[-1]
            self._worked_with_comfyui = True
            return HostAddress(found.url, found.url, found.reason)
        told = "; ".join(f"{probe.url} {probe.reason}" for probe in probes)
        if self._use == AUTO and (may_fall_back or not self._worked_with_comfyui):
            return self._embedded(f"no ComfyUI to use: {told}")
        self._say(f"waiting for the host: {told}")
        return None

    def _embedded(self, why: str) -> HostAddress:
        return HostAddress(EMBEDDED, self._process.ensure(), f"embedded host, {why}")

    def _say(self, line: str) -> None:
        if line != self._said:
            logger.info("%s", line)
            self._said = line
