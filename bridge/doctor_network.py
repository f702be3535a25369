"""What the doctor says of WSL's network: the witnesses of :mod:`bridge.wsl`, compared. Pure.

Sources: reference comfyui.md, section 6, with the issues of microsoft/WSL named beside each
finding, so that a reader can look up whether one is still open.
"""

from collections.abc import Iterator

from bridge.finding import Finding, fine, note, problem, warning
from bridge.wsl import Kind, Networking
from bridge.wsl_config import Mode

COMFYUI_PORTS = (8188, 8000)  # ComfyUI's own, and the desktop app's
MIRRORED_FROM = 22621  # Windows 11 22H2: the first build with mirrored networking
WINDOWS_11_FROM = 22000

_SET_MIRRORED = (
    "in %UserProfile%\\.wslconfig on Windows write [wsl2] and below it networkingMode=mirrored, "
    "then run: wsl --shutdown"
)
_OPEN_FROM_NAT = (
    "start ComfyUI with --listen 0.0.0.0, and in an administrator's PowerShell: "
    "New-NetFirewallRule -DisplayName ComfyUI-from-WSL -Direction Inbound -Action Allow "
    "-Protocol TCP -LocalPort 8188,8000 -RemoteAddress {network}"
)


def findings(networking: Networking) -> Iterator[Finding]:
    """Say what is so, where the witnesses disagree, and what the user's file gets wrong."""
    yield _machine(networking)
    if networking.kind is not Kind.WSL2:
        return
    yield _mode(networking)
    yield from _disagreement(networking)
    yield from _slips(networking)
    yield from _ignored_ports(networking)
    yield from _loopback(networking)


def how_to_open(networking: Networking) -> str:
    """Return how ComfyUI on Windows is made reachable behind NAT."""
    network = networking.gateway.network if networking.gateway else ""
    return _OPEN_FROM_NAT.format(network=network or "172.16.0.0/12")


def _machine(networking: Networking) -> Finding:
    name = "wsl.machine"
    match networking.kind:
        case Kind.PLAIN:
            return fine(name, "this is no WSL: hosts are reached over the ordinary network")
        case Kind.WSL1:
            return note(
                name,
                "this is WSL 1: it shares Windows' network, so 127.0.0.1 is Windows",
                "SQLite and file events are less reliable here than under WSL 2",
                "in PowerShell: wsl --set-version DISTRIBUTION 2",
            )
    build = f", Windows build {networking.build}" if networking.build else ""
    return fine(name, f"this is WSL 2{build}")


def _mode(networking: Networking) -> Finding:
    name, mode = "wsl.networking", networking.mode
    gateway = networking.gateway.address if networking.gateway else "not known"
    match mode:
        case Mode.MIRRORED:
            return fine(name, "networking is mirrored: 127.0.0.1 reaches ComfyUI on Windows")
        case Mode.NAT:
            return note(
                name,
                f"networking is NAT: Windows is {gateway}, and 127.0.0.1 is Linux alone",
                "a ComfyUI that listens on 127.0.0.1 of Windows cannot be reached",
                f"{_SET_MIRRORED}; or keep NAT and {how_to_open(networking)}",
            )
        case Mode.NONE:
            return problem(
                name,
                "there is no network in this WSL (only the loopback interface)",
                "no ComfyUI on Windows can be reached; WSL falls back to this without a word "
                "when it cannot set up what .wslconfig asks for (microsoft/WSL#40639, #10650)",
                "in .wslconfig write networkingMode=nat, then run: wsl --shutdown",
            )
        case Mode.VIRTIOPROXY | Mode.BRIDGED:
            return note(
                name,
                f"networking is {mode}: whether 127.0.0.1 reaches Windows is not certain",
                "Vulcan was not tested with it",
                f"if no ComfyUI is found: {_SET_MIRRORED}",
            )
    return note(
        name,
        "wslinfo is not there, so the networking mode is a guess by the interfaces",
        "WSL may have fallen back to NAT without a word",
        "in PowerShell: wsl --update",
    )


def _disagreement(networking: Networking) -> Iterator[Finding]:
    asked, mode, told = networking.config.mode, networking.mode, networking.told
    if asked and mode and asked is not mode:
        yield warning(
            "wsl.fallback",
            f".wslconfig asks for {asked} networking, and it is {mode} in fact",
            "WSL falls back without a word when it cannot do what is asked",
            _why_not(networking, asked),
        )
    if told and networking.seen and told not in networking.seen:
        yield warning(
            "wsl.interfaces",
            f"wslinfo says {told}, but the interfaces look like {_listed(networking.seen)}",
            "the network was set up in part, or changed since WSL started",
            "run: wsl --shutdown, and start WSL again",
        )


def _why_not(networking: Networking, asked: Mode) -> str:
    if asked is not Mode.MIRRORED:
        return "run: wsl --shutdown, and start WSL again"
    build = networking.build
    if 0 < build < MIRRORED_FROM:
        system = "Windows 10" if build < WINDOWS_11_FROM else "the first Windows 11"
        return (
            f"mirrored networking needs Windows 11 22H2 (build {MIRRORED_FROM}), this is {system} "
            f"(build {build}): update Windows, or keep NAT and {how_to_open(networking)}"
        )
    return (
        "run: wsl --shutdown, wait 8 seconds, start WSL again (the file is read only then); "
        "if it stays so, in PowerShell: wsl --update"
    )


def _slips(networking: Networking) -> Iterator[Finding]:
    for slip in networking.config.slips():
        yield warning(
            "wsl.config",
            f"{networking.config.path}: {slip.what}",
            "WSL skips what it does not understand, without a word",
            f"{slip.fix}, then run: wsl --shutdown",
        )


def _ignored_ports(networking: Networking) -> Iterator[Finding]:
    ignored = [port for port in COMFYUI_PORTS if networking.config.ignores_port(port)]
    if ignored and networking.mode is Mode.MIRRORED:
        ports = ", ".join(map(str, ignored))
        yield warning(
            "wsl.ports",
            f".wslconfig tells mirrored networking to leave port {ports} alone (ignoredPorts)",
            "Linux and Windows may then both use it, and 127.0.0.1 leads to the Linux one",
            f"take {ports} out of ignoredPorts, then run: wsl --shutdown",
        )


def _loopback(networking: Networking) -> Iterator[Finding]:
    """Whether 127.0.0.1 really leads to Windows, told by a port that every Windows has open."""
    if networking.mode is not Mode.MIRRORED or networking.reaches_windows is None:
        return
    if networking.reaches_windows:
        yield fine("wsl.loopback", "127.0.0.1 really leads to Windows (its port 135 answers)")
        return
    yield warning(
        "wsl.loopback",
        "networking is mirrored, but port 135 of Windows does not answer on 127.0.0.1",
        "on some machines mirrored networking does not lead to Windows, or stops doing so after "
        "hours (microsoft/WSL#12399, #40343, #11312); a firewall on Windows looks the same",
        "if no ComfyUI is found either: wsl --shutdown, else networkingMode=nat and "
        + how_to_open(networking),
    )


def _listed(modes: frozenset[Mode]) -> str:
    return " or ".join(sorted(modes))
