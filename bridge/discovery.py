"""Which ComfyUI answers, and why it was taken or left.

Probes base URLs side by side, each with a short connect timeout and an end to all patience, and
tells for each what it is; a choice without a reason helps nobody at night. It starts nothing and
knows nothing of the embedded host but that the caller may fall back to it.
"""

import difflib
import ipaddress
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from bridge import background, first_contact
from bridge.answers import HostFacts
from bridge.catalogue import folded
from bridge.client import HostClient
from bridge.errors import HostError
from bridge.first_contact import Contact, Reached
from bridge.wsl import Networking

UNET_LOADER = "UnetLoaderGGUF"
# The ComfyUI versions that Vulcan was run against, first and last. Others may do as well, but
# nobody has seen it; so a version outside is told and nothing more.
TESTED = ((0, 3, 64), (0, 3, 64))
PATIENCE = 6.0  # seconds for all that one URL is asked; a ComfyUI that loads a model is slow
NEAREST = 3  # names shown where a model is not listed


class Verdict(StrEnum):
    """Whether jobs can go to a URL, and if not, what is in the way."""

    USABLE = "usable"
    ABSENT = "absent"  # no answer, or not from a ComfyUI: see Probe.reached
    NO_NODES = "no nodes"
    NO_MODEL = "no model"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one URL turned out to be.

    Attributes:
        url: base URL.
        usable: whether jobs can go there.
        reason: why, or why not and what to do.
        verdict: the same in one word.
        reached: what the first contact found.
        facts: what a ComfyUI says of itself, ``None`` where none answered.
        date: its clock at that moment, seconds since the epoch, if it said.
    """

    url: str
    usable: bool
    reason: str
    verdict: Verdict = Verdict.ABSENT
    reached: Reached = Reached.REFUSED
    facts: HostFacts | None = None
    date: float | None = None


def candidates(configured: Sequence[str], networking: Networking) -> tuple[str, ...]:
    """Return the URLs to probe: the configured ones, then the same ports on the gateway.

    Behind WSL's NAT 127.0.0.1 is Linux alone and Windows is the default gateway; elsewhere the
    gateway is somebody's router, and is left in peace.
    """
    if not networking.is_routed or networking.gateway is None:
        return tuple(dict.fromkeys(configured))
    gateway = networking.gateway.address
    behind = [_at(url, gateway) for url in configured if is_loopback(url)]
    return tuple(dict.fromkeys([*configured, *behind]))


def probe(url: str, unet: str, connect_timeout: float, patience: float = PATIENCE) -> Probe:
    """Ask one URL whether it is a ComfyUI with the GGUF nodes and our model.

    Args:
        url: base URL.
        unet: the model's file name, as we write it.
        connect_timeout: seconds until a connection counts as swallowed.
        patience: seconds for all of it.
    """
    return _gather([(url, _begin(url, unet, connect_timeout, patience))], patience)[0]


def probe_all(
    urls: Iterable[str], unet: str, connect_timeout: float, patience: float = PATIENCE
) -> list[Probe]:
    """Probe side by side; return them in order, up to and including the first usable one."""
    asked = [(url, _begin(url, unet, connect_timeout, patience)) for url in urls]
    return _gather(asked, patience, all_of_them=False)


def survey(
    urls: Iterable[str], unet: str, connect_timeout: float, patience: float = PATIENCE
) -> list[Probe]:
    """Probe side by side and return them all; for whoever wants to know, not to choose."""
    asked = [(url, _begin(url, unet, connect_timeout, patience)) for url in urls]
    return _gather(asked, patience)


def same_file(ours: str, listed: str) -> bool:
    """Compare names as hosts list them: Windows hosts write sub-folders with backslashes."""
    return folded(ours) == folded(listed)


def nearest(name: str, listed: Sequence[str]) -> str:
    """Say which names of a host's list come nearest to one that is not in it."""
    if not listed:
        return "it lists none"
    by_fold = {folded(other).lower(): other for other in listed}
    near = difflib.get_close_matches(folded(name).lower(), list(by_fold), NEAREST, cutoff=0.5)
    if near:
        return f"nearest: {', '.join(by_fold[one] for one in near)}"
    more = f" and {len(listed) - NEAREST} more" if len(listed) > NEAREST else ""
    return f"it lists {', '.join(listed[:NEAREST])}{more}"


def is_tested(version: str) -> bool:
    """Tell whether a ComfyUI version lies in the range that Vulcan was run against."""
    try:
        parts = tuple(int(part) for part in version.lstrip("v").split("."))
    except ValueError:
        return False
    return TESTED[0] <= parts <= TESTED[1]


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _at(url: str, address: str) -> str:
    """Return the same URL on another address."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{address}{port}"))


def _begin(url: str, unet: str, connect_timeout: float, patience: float) -> "Future[Probe]":
    return background.begin(lambda: _ask(url, unet, connect_timeout, patience), f"probe {url}")


def _gather(
    asked: "Sequence[tuple[str, Future[Probe]]]", patience: float, all_of_them: bool = True
) -> list[Probe]:
    """Wait for the answers, in order and not for ever; a late thread is left to itself."""
    end = time.monotonic() + patience + 0.5
    probes: list[Probe] = []
    for url, answer in asked:
        try:
            probes.append(answer.result(max(0.0, end - time.monotonic())))
        except TimeoutError:
            why = f"takes the connection and does not answer in full within {patience:g} s"
            probes.append(Probe(url, usable=False, reason=why, reached=Reached.SILENT))
        if probes[-1].usable and not all_of_them:
            break
    return probes


def _ask(url: str, unet: str, connect_timeout: float, patience: float) -> Probe:
    contact = first_contact.reach(url, connect_timeout, patience)
    if contact.facts is None:
        return Probe(url, usable=False, reason=contact.why, reached=contact.reached)
    with HostClient(url, client_id="vulcan-probe", connect_timeout=connect_timeout) as client:
        try:
            unets = client.choices(UNET_LOADER, "unet_name")
        except HostError as error:
            return _probe(url, contact, Verdict.ABSENT, error.why)
    if unets is None:
        return _probe(
            url, contact, Verdict.NO_NODES, "has no GGUF nodes; install ComfyUI-GGUF there"
        )
    if not any(same_file(unet, listed) for listed in unets):
        why = f"does not list {unet} ({nearest(unet, unets)}); copy it to its models/unet folder"
        return _probe(url, contact, Verdict.NO_MODEL, why)
    return _probe(url, contact, Verdict.USABLE, _welcome(contact.facts))


def _probe(url: str, contact: Contact, verdict: Verdict, reason: str) -> Probe:
    return Probe(
        url=url,
        usable=verdict is Verdict.USABLE,
        reason=reason,
        verdict=verdict,
        reached=contact.reached,
        facts=contact.facts,
        date=contact.date,
    )


def _welcome(facts: HostFacts) -> str:
    if facts.embedded:
        return f"Vulcan's embedded host on {facts.device}"
    untested = "" if is_tested(facts.version) else " (a version Vulcan was not tested with)"
    return f"ComfyUI {facts.version} on {facts.device}{untested}"
