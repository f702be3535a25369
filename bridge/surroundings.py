"""What lies around us outside of Python: commands, files, ports. The doctor's only way to them.

A small object that can be handed in, so that everything said about WSL and Windows is driven
through recorded output where neither is at hand. Nothing here raises: what is missing, slow or
forbidden is ``None`` or empty, and what that means is the caller's to say.
"""

import glob
import socket
import subprocess
from pathlib import Path
from typing import Protocol

RUN_TIMEOUT = 2.0  # seconds; Windows programs started from WSL take some tenths of one
MOST_READ = 1 << 20  # bytes; mount tables and settings are far smaller


class Surroundings(Protocol):
    """Asks the machine."""

    def run(self, *command: str) -> bytes | None:
        """Return what a command prints; ``None`` when it is not there, fails or takes long."""

    def read(self, path: str) -> bytes | None:
        """Return the start of a file; ``None`` when it cannot be read."""

    def paths(self, pattern: str) -> list[str]:
        """Return the paths that match a pattern with wildcards, sorted."""

    def connects(self, address: str, port: int, timeout: float) -> bool:
        """Tell whether a port takes connections within ``timeout`` seconds."""


class Machine:
    """The machine we run on."""

    def run(self, *command: str) -> bytes | None:  # noqa: D102 - see Surroundings
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_TIMEOUT
            )
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
        return ended.stdout if ended.returncode == 0 else None

    def read(self, path: str) -> bytes | None:  # noqa: D102 - see Surroundings
        try:
            with Path(path).open("rb") as file:
                return file.read(MOST_READ)
        except (OSError, ValueError):
            return None

    def paths(self, pattern: str) -> list[str]:  # noqa: D102 - see Surroundings
        return sorted(glob.glob(pattern))  # noqa: PTH207 - an absolute pattern, no folder to start at

    def connects(self, address: str, port: int, timeout: float) -> bool:  # noqa: D102 - see Surroundings
        try:
            socket.create_connection((address, port), timeout).close()
        except OSError:
            return False
        return True


def decoded(raw: bytes | None) -> str:
    """Return text that Windows or Linux wrote, in whatever of their encodings.

    ``cmd /u`` and some editors write UTF-16, with or without a byte order mark; Notepad puts
    one before UTF-8 too. Nothing is too broken to be looked at.
    """
    if not raw:
        return ""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if raw[1:2] == b"\0" or raw[3:4] == b"\0":
        return raw.decode("utf-16-le", errors="replace")
    return raw.decode("utf-8-sig", errors="replace")
