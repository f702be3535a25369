"""Are we in WSL, and how is its network connected with Windows': told, wished for, and really so.

Three witnesses, because each of them is wrong at times: ``wslinfo`` says what WSL set up,
``.wslconfig`` what the user asked for (WSL falls back to NAT, or to no network, without a word:
microsoft/WSL#11283, #13793, #40639), and the interfaces what came of it. Gathers them and weighs
them; what to do about a disagreement is :mod:`bridge.doctor_network`'s.

It runs no command itself: everything comes in through :class:`~bridge.surroundings.Surroundings`.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from bridge import wsl_config
from bridge.gateway import Gateway, default_gateway, interfaces
from bridge.surroundings import Surroundings, decoded
from bridge.wsl_config import Mode, WslConfig

# Windows' RPC port: open on every Windows, and on hardly any Linux. [own knowledge, not measured]
WINDOWS_PORT = 135
CONNECT_TIMEOUT = 1.0  # seconds; a closed port may hang under mirrored networking
# An interface that only mirrored networking and virtioproxy make (microsoft/WSL#10650, #10717).
LOOPBACK = "loopback0"
_BUILD = re.compile(r"\[\D*10\.0\.(\d+)")  # "[Version 10.0.22631.4169]", in Windows' language
_PROFILE = re.compile(r"^([A-Za-z]):(\\[^\r\n]*?)\s*$", re.MULTILINE)


class Kind(StrEnum):
    """What kind of Linux this is."""

    PLAIN = "plain"
    WSL1 = "wsl1"
    WSL2 = "wsl2"


@dataclass(frozen=True, slots=True)
class Networking:
    """What the witnesses say.

    Attributes:
        kind: WSL 1, WSL 2 or neither.
        told: what wslinfo prints, ``None`` when it is not there.
        config: the user's .wslconfig.
        seen: the modes that the interfaces agree with.
        gateway: the default gateway.
        build: Windows' build number, 0 when it is not known.
        reaches_windows: whether 127.0.0.1 leads to Windows; ``None`` when that was not tried.
    """

    kind: Kind = Kind.PLAIN
    told: Mode | None = None
    config: WslConfig = field(default_factory=WslConfig)
    seen: frozenset[Mode] = frozenset()
    gateway: Gateway | None = None
    build: int = 0
    reaches_windows: bool | None = None

    @property
    def mode(self) -> Mode | None:
        """The mode that is really so; ``None`` outside WSL 2, or when nobody knows.

        wslinfo is believed unless the interfaces speak against it; then they are.
        """
        if self.kind is not Kind.WSL2:
            return None
        if not self.seen or self.told in self.seen:
            return self.told
        if len(self.seen) == 1:
            return next(iter(self.seen))
        return self.config.mode if self.config.mode in self.seen else self.told

    @property
    def is_routed(self) -> bool:
        """Whether Windows is the default gateway, and 127.0.0.1 is Linux alone."""
        unknown = self.mode is None and Mode.NAT in self.seen
        return self.kind is Kind.WSL2 and (self.mode is Mode.NAT or unknown)


def inspect(surroundings: Surroundings, ask_windows: bool = True) -> Networking:
    """Hear the witnesses.

    Args:
        surroundings: the machine.
        ask_windows: also look for .wslconfig and Windows' build, which starts a Windows program
            (some tenths of a second), and try a port of Windows; only the doctor needs it.
    """
    kind = _kind(decoded(surroundings.read("/proc/sys/kernel/osrelease")))
    gateway = default_gateway(decoded(surroundings.read("/proc/net/route")))
    if kind is not Kind.WSL2:
        return Networking(kind, gateway=gateway)
    names = interfaces(decoded(surroundings.read("/proc/net/dev")))
    told = wsl_config.mode(decoded(surroundings.run("wslinfo", "--networking-mode")))
    seen = _seen(names, gateway)
    if not ask_windows:
        return Networking(kind, told, seen=seen, gateway=gateway)
    drives = windows_drives(decoded(surroundings.read("/proc/self/mounts")))
    said = _ask_windows(surroundings, drives)
    build = _BUILD.search(said)
    return Networking(
        kind=kind,
        told=told,
        config=_config(surroundings, drives, said),
        seen=seen,
        gateway=gateway,
        build=int(build[1]) if build else 0,
        reaches_windows=surroundings.connects("127.0.0.1", WINDOWS_PORT, CONNECT_TIMEOUT),
    )


def windows_drives(mounts: str) -> dict[str, str]:
    r"""Return where Windows' drives are mounted, by letter in lower case.

    Three spellings: 9p (``C:\134 /mnt/c 9p ...aname=drvfs;path=C:\...``), WSL 1's
    (``C: /mnt/c drvfs``) and virtiofs (``drvfsC0 /mnt/c virtiofs``; microsoft/WSL#14301).

    Args:
        mounts: text of /proc/self/mounts.
    """
    drives: dict[str, str] = {}
    for line in mounts.splitlines():
        source, point, kind, *_ = [*line.split(" "), "", "", ""]
        letter = re.match(r"(?:drvfs)?([A-Za-z])(?::|\d)", source)
        if letter and kind in ("9p", "drvfs", "virtiofs"):
            drives.setdefault(letter[1].lower(), point.replace("\\040", " "))
    return drives


def _kind(release: str) -> Kind:
    """Tell by the kernel's name: ``...-microsoft-standard-WSL2``, or ``4.4.0-19041-Microsoft``."""
    if "microsoft" not in release.lower():
        return Kind.PLAIN
    return Kind.WSL1 if release.startswith("4.4.") else Kind.WSL2


def _seen(names: tuple[str, ...], gateway: Gateway | None) -> frozenset[Mode]:
    if not names:
        return frozenset()
    if LOOPBACK in names:
        return frozenset({Mode.MIRRORED, Mode.VIRTIOPROXY})
    if gateway is None:
        return frozenset({Mode.NONE})
    return frozenset({Mode.NAT, Mode.BRIDGED, Mode.VIRTIOPROXY})


def _ask_windows(surroundings: Surroundings, drives: dict[str, str]) -> str:
    """Return Windows' version and the user's folder; empty when Windows cannot be asked.

    By its full path, as Windows' folders need not be on Linux' PATH. ``/u`` prints UTF-16, so
    that names in any language arrive.
    """
    system = f"{drives.get('c', '/mnt/c')}/Windows/System32/cmd.exe"
    return decoded(surroundings.run(system, "/d", "/u", "/c", "ver & echo %USERPROFILE%"))


def _config(surroundings: Surroundings, drives: dict[str, str], said: str) -> WslConfig:
    """Read the user's .wslconfig: in the folder that Windows names, else the only one there is."""
    path = _path_in_profile(drives, said)
    if not path:
        found = [
            place
            for root in drives.values()
            for place in surroundings.paths(f"{root}/Users/*/.wslconfig")
        ]
        path = found[0] if len(found) == 1 else ""
    raw = surroundings.read(path) if path else None
    return wsl_config.parse(decoded(raw), path) if raw is not None else WslConfig()


def _path_in_profile(drives: dict[str, str], said: str) -> str:
    profile = _PROFILE.search(said)
    root = drives.get(profile[1].lower()) if profile else None
    if not profile or not root:
        return ""
    return f"{root}{profile[2].replace(chr(92), '/')}/.wslconfig"
