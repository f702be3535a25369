"""The embedded host's life: started as a child, watched, started again, never left behind.

The child reads its standard input and ends at end-of-file. The pipe's other end is ours alone,
so the kernel closes it whatever happens to us, kill -9 included, and no host outlives its
director. What the host does is not known here; it is spoken to by URL like any other.
"""

import json
import logging
import selectors
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from configs.settings import ROOT

logger = logging.getLogger(__name__)

LISTEN_TIMEOUT = 60.0  # seconds until a child must listen (it does so before it loads torch)
LOG_BYTES = 5_000_000  # from this size on, a start begins a new log; one old one is kept
STOP_TIMEOUT = 5.0  # seconds a child may take to end by itself


class HostProcessError(Exception):
    """The embedded host did not start; the message holds the end of its log."""


class HostProcess:
    """One embedded host.

    Args:
        models: folder with unet/, loras/, text_encoders/, vae/.
        scratch: the host's own output, input and temp folders, and its log, go here.
        partial_loras: let it apply LoRAs in part.
        previews: let it make a small picture at each step.
        vram_limit: the most of the card's memory that it uses, such as ``6GB``; empty for all.
    """

    def __init__(
        self,
        models: Path,
        scratch: Path,
        *,
        partial_loras: bool = False,
        previews: bool = True,
        vram_limit: str = "",
    ) -> None:
        self._models, self._scratch, self._partial_loras = models, scratch, partial_loras
        self._previews, self._vram_limit = previews, vram_limit
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._url = ""

    @property
    def log(self) -> Path:
        """Where the child's messages go."""
        return self._scratch / "host.log"

    def ensure(self) -> str:
        """Return the URL of a living child, starting one if needed.

        Raises:
            HostProcessError: it ended or said nothing before it listened.
        """
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._reap()
                self._start()
            return self._url

    def stop(self) -> None:
        """End the child: by closing its standard input, by force if that does not do."""
        with self._lock:
            self._reap()

    def discard(self, folder: str) -> None:
        """Delete what the host saved for a job whose pictures are filed, or given up."""
        shutil.rmtree(self._scratch / "output" / folder, ignore_errors=True)

    def saved(self, folder: str) -> list[str]:
        """Return the names of what lies in one of the host's output folders."""
        place = self._scratch / "output" / folder
        return [entry.name for entry in place.iterdir()] if place.is_dir() else []

    def _start(self) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._turn_log_over()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # A Ctrl-C at the terminal is ours to handle: the running job may finish.
                start_new_session=True,
            )
        self._url = self._wait_for_url(self._child)
        logger.info("embedded host at %s (process %d)", self._url, self._child.pid)

    def _turn_log_over(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_name(self.log.name + ".1"))

    def _command(self) -> Sequence[str]:
        folders = [f"--{name}={self._scratch / name}" for name in ("output", "input", "temp")]
        return [
            sys.executable,
            "-m",
            "host",
            "--port=0",
            f"--models={self._models}",
            *folders,
            *(["--partial-loras"] if self._partial_loras else []),
            *(["--preview"] if self._previews else []),
            *([f"--vram-limit={self._vram_limit}"] if self._vram_limit else []),
            "--die-with-stdin",
        ]

    def _wait_for_url(self, child: subprocess.Popen[bytes]) -> str:
        assert child.stdout is not None  # noqa: S101 - a pipe was asked for
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            line = child.stdout.readline() if selector.select(LISTEN_TIMEOUT) else b""
        try:
            return str(json.loads(line)["url"])
        except (ValueError, KeyError) as error:
            self._reap()
            raise HostProcessError(
                f"The embedded host did not start; its log {self.log} ends with:\n{self._tail()}"
            ) from error

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-8:])

    def _reap(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
