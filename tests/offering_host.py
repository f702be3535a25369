"""A fake ComfyUI with a catalogue of its own: lacking nodes or models, on Windows, strict, old."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests import comfyui_catalogue
from tests.fault_host.catalogue import Catalogue
from tests.fault_host.host import FakeHost


def node(**inputs: list[str]) -> dict[str, Any]:
    """Write a node type whose inputs are combos."""
    return {"input": {"required": {name: [values, {}] for name, values in inputs.items()}}}


def flux_nodes(unet: str, lora: str, clip: str, t5: str, vae: str) -> dict[str, Any]:
    """Return what a real ComfyUI offers, with one file of each kind."""
    return comfyui_catalogue.object_info_with(
        unet_name=[unet], lora_name=[lora], clip_name1=[clip], clip_name2=[t5], vae_name=[vae]
    )


@dataclass
class Offer(Catalogue):
    """A catalogue written out by the test."""

    nodes: dict[str, Any] = field(
        default_factory=lambda: {"UnetLoaderGGUF": node(unet_name=["x.gguf"])}
    )

    def info(self, wanted: str | None = None) -> dict[str, Any]:
        return {name: said for name, said in self.nodes.items() if wanted in (None, name)}


@dataclass
class OfferingHost(FakeHost):
    """Says of itself, and offers, what the test likes; strict with Origins, as ComfyUI is."""

    nodes: dict[str, Any] | None = None
    strict: bool = True
    refused: list[tuple[str, str]] = field(default_factory=list)  # Host and Origin

    def __post_init__(self) -> None:
        self.catalogue = Offer() if self.nodes is None else Offer(nodes=self.nodes)
        self.gate = self._lets_in

    def _lets_in(self, host: str, origin: str) -> bool:
        if self.strict and host and origin and is_refused(host, origin):
            self.refused.append((host, origin))
            return False
        return True


def is_refused(host: str, origin: str) -> bool:
    """Compare as ComfyUI does: both lower-cased, ports only where both name one."""
    ours, theirs = urlsplit(f"//{host.lower()}"), urlsplit(origin)
    here: str | None = host.lower()
    there: str | None = theirs.netloc.lower()
    if theirs.port is None:
        here = ours.hostname
    if ours.port is None:
        there = theirs.hostname
    loopback = ours.hostname == "localhost" or (ours.hostname or "").startswith("127.")
    return loopback and bool(here) and bool(there) and here != there
