"""Which ComfyUI answers, and why it was taken or left.

Probes a list of base URLs, each with a short connect timeout, and returns the first that can do
the work together with the reason; a choice without a reason helps nobody at night. It starts
nothing and knows nothing of the embedded host but that the caller may fall back to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.client import HostClient
from bridge.errors import HostError

UNET_LOADER = "UnetLoaderGGUF"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one URL turned out to be.

    Attributes:
        url: base URL.
        usable: whether jobs can go there.
        reason: why, or why not and what to do.
    """

    url: str
    usable: bool
    reason: str


def probe(url: str, unet: str, connect_timeout: float) -> Probe:
    """Ask one URL whether it is a ComfyUI with the GGUF nodes and our model."""
    with HostClient(url, client_id="vulcan-probe", connect_timeout=connect_timeout) as client:
        try:
            facts = client.facts()
            unets = client.choices(UNET_LOADER, "unet_name")
        except HostError as error:
            return Probe(url, usable=False, reason=error.why)
    if unets is None:
        why = "has no GGUF nodes; install ComfyUI-GGUF there"
    elif not any(same_file(unet, listed) for listed in unets):
        why = f"does not list {unet}; copy it to its models/unet folder"
    else:
        return Probe(url, usable=True, reason=f"ComfyUI {facts.version} on {facts.device}")
    return Probe(url, usable=False, reason=why)


def probe_all(urls: Iterable[str], unet: str, connect_timeout: float) -> list[Probe]:
    """Probe in order, up to and including the first usable one."""
    probes: list[Probe] = []
    for url in urls:
        probes.append(probe(url, unet, connect_timeout))
        if probes[-1].usable:
            break
    return probes


def same_file(ours: str, listed: str) -> bool:
    """Compare names as hosts list them: Windows hosts write sub-folders with backslashes."""
    return ours.replace("\\", "/") == listed.replace("\\", "/")
