"""What a picture was made with, beside its request: hashes, the host's software, our own. Pure.

Values only; who hashes which file is :mod:`core.prepare`'s part, how they are written and read
back :mod:`core.record`'s. Nothing here says when or by which job a picture was made: the same
request on the same host must give the same bytes twice.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.answers import HostFacts
from bridge.workflow import Workflow

VERSION = "0.1.0"  # Vulcan's own
TOOL = f"Vulcan {VERSION}"


@dataclass(frozen=True, slots=True)
class Hashes:
    """SHA-256 of the files a picture was made with, in hex; files that are not ours are absent.

    Attributes:
        unet: of the diffusion model.
        loras: by file name, for the request's LoRAs.
        text_encoders: by file name.
        vae: by file name.
    """

    unet: str
    loras: Mapping[str, str] = field(default_factory=dict)
    text_encoders: Mapping[str, str] = field(default_factory=dict)
    vae: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a picture was made with.

    Attributes:
        hashes: of the model files.
        workflow_sha256: of the template, see :func:`workflow_sha256`.
        host: the host's software and version, see :func:`host_of`.
        software: more about the host, by name (os, python, pytorch, device); what it did not
            say is absent.
        partial: how much applied, by file name, of the LoRAs of which not all did.
    """

    hashes: Hashes
    workflow_sha256: str
    host: str
    software: Mapping[str, str] = field(default_factory=dict)
    partial: Mapping[str, str] = field(default_factory=dict)


def workflow_sha256(template: Workflow) -> str:
    """Hash a template by what it says: spaces and the order of keys change nothing."""
    canonical = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def host_of(facts: HostFacts) -> str:
    """Return a host's name and version; the embedded host only speaks like a ComfyUI."""
    comfyui = f"ComfyUI {facts.version}"
    return f"embedded host of {TOOL}, as {comfyui}" if facts.embedded else comfyui


def software_of(facts: HostFacts) -> dict[str, str]:
    """Return what may change a pixel on a host, by name."""
    said = {
        "os": facts.os,
        "python": facts.python,
        "pytorch": facts.torch,
        "device": facts.device,
    }
    return {name: value for name, value in said.items() if value and value != "unknown"}
