"""Hosts as processes that can be killed: the fault host, and the real ComfyUI."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from tests.torture.grounds import ROOT, UNET, write_unet


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def ask(url: str, body: Any = None, timeout: float = 2.0) -> Any:
    """Ask a host over HTTP: JSON there, JSON back.

    Raises:
        OSError: it does not answer.
    """
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout) as answer:
        return json.loads(answer.read() or b"null")


class HostProcess(Protocol):
    """What a torture does to a host."""

    port: int

    def start(self) -> None:
        """Start it and wait until it answers."""

    def kill(self) -> None:
        """Kill it with -9."""

    def freeze(self) -> None:
        """Stop it without ending it."""

    def thaw(self) -> None:
        """Let it go on."""

    def saves(self) -> int | None:
        """Return how often it wrote a picture, over all its lives; ``None`` where unknown."""


class _Process:
    """Starting and killing, which both kinds share."""

    def __init__(self, command: list[str], folder: Path, port: int, patience: float) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self._command, self._patience = command, patience
        self._cwd, self._log = ROOT, folder / "host.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, cwd=self._cwd, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + self._patience
        while not self._answers():
            if time.monotonic() > end or self._child.poll() is not None:
                raise RuntimeError(f"the host did not start; see {self._log}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            ask(f"{self.url}/prompt")
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            os.kill(self._child.pid, number)


class FaultHostProcess(_Process):
    """The fault host.

    Args:
        folder: for its files and logs, made if missing.
        **fields: what it begins every life with.
    """

    def __init__(self, folder: Path, **fields: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.deeds = folder / "deeds.log"
        command = [sys.executable, "-m", "tests.fault_host", f"--port={port}", f"--unet={UNET}"]
        command += [f"--files={folder / 'output'}", f"--log={self.deeds}"]
        super().__init__([*command, f"--set={json.dumps(fields)}"], folder, port, 30.0)

    def state(self) -> dict[str, Any]:
        """Return what it did in this life."""
        state: dict[str, Any] = ask(f"{self.url}/fault/state")
        return state

    def set(self, **switches: Any) -> None:
        """Set switches of this life."""
        ask(f"{self.url}/fault/set", switches)

    def saves(self) -> int | None:
        text = self.deeds.read_text() if self.deeds.exists() else ""
        return sum(line.split()[1] == "save" for line in text.splitlines())


class ComfyProcess(_Process):
    """The real ComfyUI on the processor; nothing is written into its own folder.

    Args:
        comfy: its folder, with its own .venv.
        folder: for its output, input, user and temp folders, its log, and the unet it lists.
    """

    def __init__(self, comfy: Path, folder: Path) -> None:
        port = free_port()
        self._output = folder / "output"
        for name in ("output", "input", "temp", "user", "unet"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_unet(folder / "unet" / UNET)
        models = folder / "models.yaml"
        models.write_text(f"torture:\n  base_path: {folder}\n  unet: unet\n")
        flags = [f"--port={port}", "--listen=127.0.0.1", "--cpu", "--disable-auto-launch"]
        flags.append(f"--extra-model-paths-config={models}")
        flags += [f"--{n}-directory={folder / n}" for n in ("output", "input", "temp", "user")]
        command = [str(comfy / ".venv" / "bin" / "python"), "main.py", *flags]
        super().__init__(command, folder, port, 180.0)
        self._cwd = comfy

    def saves(self) -> int | None:
        return sum(1 for _ in self._output.rglob("*.png"))
