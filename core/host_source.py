"""Where the next host comes from: a ComfyUI that answers, or a child of our own.

Turns one entry of ``host.use`` into a base URL with the reason for it, each time one is needed
anew. Choosing is logged once per choice, not once per try.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge import discovery
from bridge.discovery import Probe
from core.host_process import HostProcess

logger = logging.getLogger(__name__)

EMBEDDED = "embedded"
AUTO = "auto"
SCOUT_EVERY = 30.0  # seconds between looks for a ComfyUI while the embedded host works


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
        self.use, self._candidates = use, tuple(candidates)
        self._process, self._timeout = process, connect_timeout
        self._comeback, self._clock = comeback, clock
        self._worked_with_comfyui = False
        self._away_since: float | None = None
        self._said = ""

    def find(self, unet: str) -> tuple[HostAddress | None, str]:
        """Look for a host once; return it, or ``None`` with what is being waited for.

        Raises:
            HostProcessError: the embedded host does not start.
        """
        address, told = self._look(unet)
        if address:
            self._away_since = None
            self._say(f"host {address.url}: {address.reason}")
        else:
            self._say(f"waiting for the host: {told}")
        return address, told

    def better(self, unet: str, given_up: threading.Event) -> bool:
        """Wait until a ComfyUI is there to take over from the embedded host.

        Returns:
            False once ``given_up``, and at once where there is nothing to wait for.
        """
        while self.use == AUTO and not given_up.wait(SCOUT_EVERY):
            if self._usable(discovery.probe_all(self._candidates, unet, self._timeout)):
                return True
        return False

    def restart(self, address: HostAddress) -> bool:
        """End a host that hangs, if it is our own child, so that the next look starts another."""
        if address.key == EMBEDDED:
            self._process.stop()
        return address.key == EMBEDDED

    def _look(self, unet: str) -> tuple[HostAddress | None, str]:
        if self.use == EMBEDDED:
            return self._embedded("as asked for"), ""
        if self.use != AUTO:
            # Asked for by name, it is used whatever it has: each job is held against that.
            found = discovery.probe(self.use, unet, self._timeout)
            usable = found if found.facts else None
            return self._address(usable), f"{found.url} {found.reason}"
        probes = discovery.probe_all(self._candidates, unet, self._timeout)
        told = "; ".join(f"{probe.url} {probe.reason}" for probe in probes)
        if usable := self._usable(probes):
            self._worked_with_comfyui = True
            self._process.stop()  # it may have stood in
        elif not self._worked_with_comfyui or self._away_for() >= self._comeback:
            self._worked_with_comfyui = False  # it had its time; the stand-in needs none to return
            return self._embedded(f"no ComfyUI to use: {told}"), ""
        return self._address(usable), told

    def _away_for(self) -> float:
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        return now - self._away_since

    def _usable(self, probes: Sequence[Probe]) -> Probe | None:
        return next((probe for probe in probes if probe.usable), None)

    def _address(self, probe: Probe | None) -> HostAddress | None:
        return HostAddress(probe.url, probe.url, probe.reason) if probe else None

    def _embedded(self, why: str) -> HostAddress:
        return HostAddress(EMBEDDED, self._process.ensure(), f"embedded host, {why}")

    def _say(self, line: str) -> None:
        if line != self._said:
            logger.info("%s", line)
            self._said = line
