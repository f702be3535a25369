"""What the doctor says of each URL that was probed, and whether any of them will do. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bridge.discovery import Probe, Verdict, is_loopback
from bridge.doctor_network import how_to_open
from bridge.finding import Finding, fine, note, problem, warning
from bridge.first_contact import Reached
from bridge.graph_problem import GGUF_SOURCE
from bridge.wsl import Networking


@dataclass(frozen=True, slots=True)
class Search:
    """What was looked for.

    Attributes:
        unet: the model's file name.
        named: whether the user named the one host; there is no falling back then.
        networking: of this machine.
    """

    unet: str
    named: bool
    networking: Networking


def findings(probes: Sequence[Probe], search: Search) -> Iterator[Finding]:
    """Say what each URL is, in the order in which the director would take them."""
    yield from (_candidate(probe, search) for probe in probes)
    usable = [probe for probe in probes if probe.usable]
    if usable:
        yield fine("host.choice", f"the director would use {usable[0].url}")
        return
    if not search.named:  # else the one line above has said it all
        yield warning(
            "host.choice",
            "no ComfyUI can be used as things are: the director would use its embedded host",
            "without a GPU in this Linux that is slow: minutes for a picture of the full Flux",
            "make one of the hosts above usable, or set host.use to embedded if you want that",
        )


def _candidate(probe: Probe, search: Search) -> Finding:
    # The reason's second half, what to do, is said at length in the fix.
    name, what = "host.candidate", f"{probe.url} {probe.reason.split('; ')[0]}"
    if probe.usable:
        return fine(name, f"{probe.url} is {probe.reason}")
    why, fix = _why_and_fix(probe, search)
    if search.named:
        return problem(name, what, why, fix)
    # Of several candidates most are expected to be absent; host.choice says what it comes to.
    nothing_there = probe.reached in (Reached.REFUSED, Reached.SWALLOWED)
    return note(name, what, why, fix) if nothing_there else warning(name, what, why, fix)


def _why_and_fix(probe: Probe, search: Search) -> tuple[str, str]:
    match probe.verdict:
        case Verdict.NO_NODES:
            why = "without them a ComfyUI cannot load a quantised (GGUF) Flux"
            return why, (
                f"in its custom_nodes folder: git clone {GGUF_SOURCE} && "
                "pip install -r ComfyUI-GGUF/requirements.txt, then restart it"
            )
        case Verdict.NO_MODEL:
            why = "ComfyUI renders only with files in its own folders"
            return why, (
                f"copy {search.unet} to its models/unet folder; a running ComfyUI sees it at once"
            )
    return _absent(probe, search.networking)


def _absent(probe: Probe, networking: Networking) -> tuple[str, str]:
    own = networking.is_routed and is_loopback(probe.url)
    match probe.reached:
        case Reached.REFUSED | Reached.SWALLOWED if own:
            why = "behind NAT this address is Linux alone; ComfyUI on Windows is not found here"
            return why, "none: the gateway's address is tried as well"
        case Reached.SWALLOWED if networking.is_routed:
            why = "Windows' firewall drops it, or ComfyUI listens on 127.0.0.1 of Windows only"
            return why, how_to_open(networking)
        case Reached.SWALLOWED:
            why = "under mirrored networking a port that nobody listens on answers like this"
            return why, "start ComfyUI there, or name its address: --host URL"
        case Reached.REFUSED:
            return "", "start ComfyUI there, or name its address: --host URL"
        case Reached.SILENT:
            why = "a ComfyUI that hangs takes connections and never answers"
            return why, "end that program and start it again"
        case Reached.FORBIDDEN:
            why = "every job would be refused"
            return why, "use ComfyUI's own address, not that of a proxy or login before it"
        case Reached.COMFYUI:
            return "it answers in part only", "restart it, and look at what it prints"
        case Reached.NO_WAY:
            return "nothing can be sent there", "correct host.use or host.candidates"
    why = "ComfyUI must be on another port"
    return why, "look at the line that ComfyUI prints when it starts, and name it with --host"
