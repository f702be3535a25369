"""What is done to a running director, its host and the wires between them; one order a kind.

Each order returns once the trouble is over (the host is back, the disk has room), so that the
time to the next picture can be measured from there.
"""

import json
import random
import time
import urllib.error
from collections.abc import Callable
from enum import StrEnum

import websocket

from tests.chaos_proxy import ChaosProxy, Way
from tests.torture.grounds import Director, Site
from tests.torture.hosts import HostProcess, ask


class Kind(StrEnum):
    """Kinds of trouble."""

    DIRECTOR = "director killed"
    HOST = "host killed"
    FROZEN = "host frozen"
    RESET = "connections reset"
    HALF_OPEN = "connections half-open"
    DEAF = "socket deafened"
    BLACK_HOLE = "port swallows connects"
    DISK = "disk full"


# How often each kind is drawn; the full disk comes once, by appointment.
WEIGHTS = {
    Kind.DIRECTOR: 30,
    Kind.HOST: 22,
    Kind.FROZEN: 8,
    Kind.RESET: 14,
    Kind.HALF_OPEN: 10,
    Kind.DEAF: 12,
    Kind.BLACK_HOLE: 4,
}


class Chaos:
    """Makes trouble.

    Args:
        site: folders and disk.
        host: the host's process.
        proxy: what stands between.
        chance: how long, which way.
        longest: seconds that a host stays away at the most.
    """

    def __init__(
        self,
        site: Site,
        host: HostProcess,
        proxy: ChaosProxy,
        chance: random.Random,
        longest: float,
    ) -> None:
        self._site, self._host, self._proxy = site, host, proxy
        self._chance, self._longest = chance, longest
        self.director: Director = site.director()
        self.ended_alone = 0
        self._orders: dict[Kind, Callable[[], None]] = {
            Kind.DIRECTOR: self._kill_director,
            Kind.HOST: self._kill_host,
            Kind.FROZEN: self._freeze,
            Kind.RESET: lambda: _done(self._proxy.reset_all()),
            Kind.HALF_OPEN: self._half_open,
            Kind.DEAF: self._deafen,
            Kind.BLACK_HOLE: self._black_hole,
            Kind.DISK: self._fill_disk,
        }

    def draw(self) -> Kind:
        """Choose what comes next."""
        return self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]

    def strike(self, kind: Kind) -> None:
        """Make trouble of this kind, and end it."""
        self._orders[kind]()

    def look_after(self) -> None:
        """Start a director anew that ended by itself, as its service manager would."""
        if not self.director.alive():
            self.ended_alone += 1
            self.director = self._site.director()

    def _kill_director(self) -> None:
        self.director.kill()
        self.director = self._site.director()

    def _kill_host(self) -> None:
        self._host.kill()
        time.sleep(self._away() / 2)
        self._host.start()

    def _freeze(self) -> None:
        self._host.freeze()
        time.sleep(self._away())
        self._host.thaw()

    def _half_open(self) -> None:
        self._proxy.half_open(self._chance.choice(list(Way)))

    def _black_hole(self) -> None:
        self._proxy.black_hole()
        self._proxy.reset_all()
        time.sleep(self._away())
        self._proxy.fill_hole()

    def _deafen(self) -> None:
        """Register a socket under the director's clientId and end it: ComfyUI forgets both.

        This is the real fault (Comfy-Org/ComfyUI#16010) and works on every ComfyUI.
        """
        for client in self._clients():
            address = f"ws://127.0.0.1:{self._host.port}/ws?clientId={client}"
            websocket.create_connection(address, timeout=5).close()

    def _clients(self) -> set[str]:
        try:
            shown = ask(f"http://127.0.0.1:{self._host.port}/queue")
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            return set()
        entries = shown["queue_running"] + shown["queue_pending"]
        return {entry[3]["client_id"] for entry in entries if "client_id" in entry[3]}

    def _fill_disk(self) -> None:
        self._site.disk.fill(self.director.process.pid)
        time.sleep(self._away())
        self._site.disk.make_room(self.director.process.pid)

    def _away(self) -> float:
        return self._chance.uniform(0.1, 1.0) * self._longest


def _done(_: object) -> None:
    pass
