"""Keeps a host at work for as long as the director runs: find one, serve it, find the next.

One thread. Losing the host is normal (a restart, a crash, a laptop's sleep): its jobs stay in
the journal as sent, and the next stretch of work begins by looking for them.
"""

import logging
import queue
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bridge.client import HostClient
from bridge.errors import HostError
from bridge.listener import Listener
from core.endings import Endings
from core.host_source import HostAddress, HostSource
from core.host_worker import HostWorker
from core.tools import Tools, Wake

logger = logging.getLogger(__name__)

FILERS = 2  # pictures fetched and filed at once, beside rendering
PAUSE = 0.5  # seconds before a lost host is looked for


class RunLoop:
    """Drives one host at a time.

    Args:
        tools: what it works with.
        source: finds or starts the host.
        unet: file the host must have.
    """

    def __init__(self, tools: Tools, source: HostSource, unet: str) -> None:
        self._tools, self._source, self._unet = tools, source, unet
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._stopping = threading.Event()
        self._losses: dict[str, int] = {}

    def wake(self) -> None:
        """Say that the journal has new work."""
        self._inbox.put(Wake())

    def stop(self) -> None:
        """Finish what runs, take nothing new, then let :meth:`run` return."""
        self._stopping.set()
        self.wake()

    def run(self) -> None:
        """Work until stopped.

        Raises:
            HostProcessError: the embedded host does not start.
        """
        while not self._stopping.is_set():
            address = self._source.acquire(self._unet, self._stopping)
            if address is None:
                return
            self._tools.board.update(host=address.url, reason=address.reason)
            try:
                self._serve(address)
            except HostError as error:
                logger.warning("%s; looking for the host again", error)
                self._tools.board.update(host="", reason=str(error), running=None)
                self._stopping.wait(PAUSE)

    def _serve(self, address: HostAddress) -> None:
        client_id = f"vulcan-{uuid.uuid4()}"
        timeout = self._tools.patience.connect_timeout
        with HostClient(address.url, client_id, timeout) as client:
            software = f"ComfyUI {client.facts().version}"
            listener = Listener(address.url, client_id, self._inbox)
            try:
                with ThreadPoolExecutor(FILERS, thread_name_prefix="filing") as filers:
                    endings = Endings(
                        self._tools, client, software, filers, self._inbox, self._losses
                    )
                    HostWorker(
                        self._tools, client, address.key, endings, self._inbox, self._stopping
                    ).work()
            finally:
                listener.close()
