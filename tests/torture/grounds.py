"""The folders of one torture, and the real director at work in them as a process of its own.

Everything the director writes lies on one small disk, so that the disk can be filled.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

from models.flux import tensor_shapes
from tests.model_files import TINY

ROOT = Path(__file__).resolve().parents[2]
UNET = "torture.gguf"


def write_unet(path: Path) -> None:
    """Write a Flux of the smallest size, all zeros: to be listed and checked, never to draw."""
    writer = gguf.GGUFWriter(path, "flux")
    for name, shape in tensor_shapes(TINY).items():
        writer.add_tensor(name, np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Disk:
    """A small disk of its own where mounting is permitted; else limits on the director's files.

    Args:
        folder: where it is mounted.
        megabytes: its size; ``None`` for the disk that the folder lies on, whose syncs cost what
            they cost.
    """

    def __init__(self, folder: Path, megabytes: int | None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.mounted = folder, False
        if megabytes is not None:
            self._mount(folder, megabytes)

    def _mount(self, folder: Path, megabytes: int) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return

    def fill(self, director: int) -> None:
        """Leave no room: for anybody, or for this process alone."""
        if not self.mounted:
            resource.prlimit(director, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        try:
            with (self.folder / "filler").open("wb", buffering=0) as filler:
                while filler.write(b"\0" * 65536) == 65536:
                    continue
        except OSError:
            return  # full, as was meant

    def make_room(self, director: int) -> None:
        """Give the room back."""
        if self.mounted:
            (self.folder / "filler").unlink(missing_ok=True)
            return
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        try:
            resource.prlimit(director, resource.RLIMIT_FSIZE, unlimited)
        except ProcessLookupError:
            return  # it ended for want of room, and its limits with it

    def close(self) -> None:
        """Unmount it."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Site:
    """One torture's folders.

    Args:
        root: an empty folder.
        url: the host, as the director sees it.
        settings: further lines of the director's own settings file, by section.
        disk_megabytes: size of the disk; ``None`` for none of its own.
    """

    def __init__(
        self,
        root: Path,
        url: str,
        settings: Mapping[str, str] | None = None,
        disk_megabytes: int | None = 64,
    ) -> None:
        self.root, self._url = root, url
        self.disk = Disk(root / "disk", disk_megabytes)
        self.inbox, self.outbox = root / "inbox", self.disk.folder / "outbox"
        self.state, self.models = self.disk.folder / "state", root / "models"
        self.log = root / "director.log"
        self.inbox.mkdir()
        (self.models / "unet").mkdir(parents=True)
        write_unet(self.models / "unet" / UNET)
        self._write_settings(dict(settings or {}))

    def _write_settings(self, settings: dict[str, str]) -> None:
        sections = {
            "model": f'source = "{self.models / "unet" / UNET}"\n'
            'text_encoders = ["c.safetensors", "t.safetensors"]\nvae = "v.safetensors"\n',
            "lora": 'file = ""\n',
        }
        for name, lines in settings.items():
            sections[name] = sections.get(name, "") + lines
        text = "".join(f"[{name}]\n{lines}\n" for name, lines in sections.items())
        (self.root / "own.toml").write_text(text)

    def director(self) -> "Director":
        """Start a director."""
        return Director(self._command(), {**os.environ, "VULCAN_STATE": str(self.state)}, self.log)

    def _command(self) -> list[str]:
        folders = [f"--{name}={getattr(self, name)}" for name in ("inbox", "outbox", "models")]
        own = f"--config={self.root / 'own.toml'}"
        program = str(ROOT / "core" / "director.py")
        return [sys.executable, program, "run", f"--host={self._url}", own, *folders]

    def pictures(self) -> list[Path]:
        """Return the pictures in the outbox, sorted."""
        return sorted(self.outbox.glob("*.png")) if self.outbox.is_dir() else []

    def made(self) -> int:
        """Return how many pictures there are; cheap enough to ask a hundred times a second."""
        try:
            return sum(name.endswith(".png") for name in os.listdir(self.outbox))  # noqa: PTH208 - no Path for each of thousands
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Give the disk back."""
        self.disk.close()


class Director:
    """One director process; its log goes on in one file over all of them."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._log = log
        # Through a pipe: a full disk must not be met by writing a log of ours.
        self._copier = threading.Thread(target=self._copy, daemon=True)
        self._copier.start()

    def _copy(self) -> None:
        assert self.process.stderr is not None
        with self._log.open("ab") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill it with -9 and wait until it is gone."""
        self.process.kill()
        self._reap(30)

    def end(self, seconds: float = 30) -> int:
        """End it as a user would; kill it when that takes too long. Return its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            self._reap(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.returncode

    def _reap(self, seconds: float) -> None:
        self.process.wait(seconds)
        self._copier.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()
