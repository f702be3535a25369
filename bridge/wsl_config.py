"""``.wslconfig``: what the user asked WSL for, and the slips that make WSL ignore it. Pure.

WSL reads the file once, when its virtual machine starts, skips what it does not know and says
nothing, so a slip looks like a setting that does not work. Names are compared without regard to
case. Where the file lies, and what became of the wish, is :mod:`bridge.wsl`'s.
"""

import difflib
from dataclasses import dataclass
from enum import StrEnum

SECTION, EXPERIMENTAL = "wsl2", "experimental"
MODE_KEY = "networkingmode"
# Belongs under [experimental]; under [wsl2] it is skipped (microsoft/WSL#11034).
EXPERIMENTAL_KEYS = ("hostaddressloopback", "ignoredports")


class Mode(StrEnum):
    """How WSL2's network is connected with Windows'; the names that ``wslinfo`` prints."""

    NAT = "nat"
    MIRRORED = "mirrored"
    VIRTIOPROXY = "virtioproxy"
    BRIDGED = "bridged"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Slip:
    """Something in the file that WSL does not take as it is meant."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class WslConfig:
    """The settings that the file holds.

    Attributes:
        path: where it lies, as Linux sees it; empty when there is none.
        values: section, key (both in lower case) and value, in the file's order.
    """

    path: str = ""
    values: tuple[tuple[str, str, str], ...] = ()

    def get(self, section: str, key: str) -> str:
        """Return a value, the last one where it is given twice; empty when it is not given."""
        found = [v for s, k, v in self.values if (s, k) == (section, key)]
        return found[-1] if found else ""

    @property
    def mode(self) -> Mode | None:
        """The networking mode that is asked for in a way that WSL understands."""
        asked = self.get(SECTION, MODE_KEY) or self.get(EXPERIMENTAL, MODE_KEY)
        return mode(asked)

    def ignores_port(self, port: int) -> bool:
        """Tell whether mirrored networking is told to leave a port alone."""
        return str(port) in self.get(EXPERIMENTAL, "ignoredports").replace(" ", "").split(",")

    def slips(self) -> tuple[Slip, ...]:
        """Return what WSL skips, or does not take as it is meant."""
        found = (_slip(section, key, value) for section, key, value in self.values)
        return tuple(slip for slip in found if slip)


def parse(text: str, path: str = "") -> WslConfig:
    """Read the file's text; lines that are nothing are skipped, as WSL does."""
    section, values = "", []
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        if line.startswith(";"):
            continue
        if line.startswith("["):
            section = line.strip("[] \t").casefold()
        elif "=" in line:
            key, _, value = line.partition("=")
            values.append((section, key.strip().casefold(), value.strip().strip("\"'")))
    return WslConfig(path, tuple(values))


def mode(name: str) -> Mode | None:
    """Return the mode of this name, ``None`` for a word that is none."""
    word = name.strip().casefold()
    return Mode(word) if word in Mode.__members__.values() else None


def _slip(section: str, key: str, value: str) -> Slip | None:
    if key == MODE_KEY:
        return _mode_slip(section, value)
    if key in EXPERIMENTAL_KEYS and section != EXPERIMENTAL:
        return Slip(f"{key} stands under {_shown(section)}", f"move it under [{EXPERIMENTAL}]")
    if difflib.get_close_matches(key, [MODE_KEY], n=1, cutoff=0.8):
        return Slip(f"there is no setting {key}", f"write networkingMode={value}")
    return None


def _mode_slip(section: str, value: str) -> Slip | None:
    if section not in (SECTION, EXPERIMENTAL):
        return Slip(
            f"networkingMode stands under {_shown(section)}, where WSL does not look",
            f"put the line [{SECTION}] above it",
        )
    if mode(value) is None:
        return Slip(f"there is no networking mode {value!r}", "write networkingMode=mirrored")
    return None


def _shown(section: str) -> str:
    return f"[{section}]" if section else "no section"
