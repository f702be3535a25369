"""What the host says of its machine: ``GET /system_stats``. Never imports torch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COMFYUI_VERSION = "0.3.64"
"""The ComfyUI whose protocol is followed; clients compare it with what they need."""

EMBEDDED = "vulcan"
"""Value of ``system.embedded_host``: how the director knows its own host from a real ComfyUI."""


_TOKEN = "--token"  # noqa: S105 - the flag, not what it holds


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """One device that renders; sizes in bytes."""

    name: str
    type: str
    index: int | None
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory in bytes."""

    total: int
    free: int


def memory(meminfo: Path = Path("/proc/meminfo")) -> Memory:
    """Read how much memory there is and how much could be had."""
    sizes: dict[str, int] = {}
    try:
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return Memory(0, 0)
    return Memory(sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0))


def describe(devices: Sequence[DeviceFacts]) -> dict[str, Any]:
    """Return the body of ``GET /system_stats``; no devices means that torch is still loading."""
    ram = memory()
    shown = devices or [DeviceFacts("cpu", "cpu", None, ram.total, ram.free)]
    return {
        "system": {
            "os": "posix",
            "ram_total": ram.total,
            "ram_free": ram.free,
            "comfyui_version": COMFYUI_VERSION,
            "required_frontend_version": "",
            "installed_templates_version": "",
            "required_templates_version": "",
            "python_version": sys.version,
            "pytorch_version": _torch_version(),
            "embedded_python": False,
            "embedded_host": EMBEDDED,
            "argv": ["host", *without_token(sys.argv[1:])],
        },
        "devices": [_device(device) for device in shown],
    }


def without_token(argv: Sequence[str]) -> list[str]:
    """Return a command line without the value of ``--token``."""
    words = [f"{_TOKEN}=..." if word.startswith(f"{_TOKEN}=") else word for word in argv]
    return [
        "..." if before == _TOKEN else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def _device(device: DeviceFacts) -> dict[str, Any]:
    return {
        "name": device.name,
        "type": device.type,
        "index": device.index,
        "vram_total": device.total,
        "vram_free": device.free,
        "torch_vram_total": device.total,
        "torch_vram_free": device.free,
    }


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
