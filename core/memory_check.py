"""Whether a host's card can hold a job at all; where not, the nearest that it can.

Loading in part means that no model is too large for a card, so only what computing itself takes can
forbid a job: its size and batch. What is not known (another model than the pair's, a size that the
workflow makes itself, a device whose memory is not a card's) forbids nothing.

Asked with each kind of job (:mod:`core.suitability`), of what the host said when it was connected:
no call of its own. How much a job takes is :mod:`models.vram_needs`'.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.answers import HostFacts
from bridge.graph import Place, Workflow, inputs
from bridge.workflow import Slot, find_slots
from models import gguf_file, vram_modules, vram_needs
from models.errors import ModelError
from models.flux import FluxShape
from models.vram_needs import Picture

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """Holds jobs against cards.

    Attributes:
        unet: the pair's file name, as hosts list it; only jobs with it are known.
        shape: its sizes.
    """

    unet: str
    shape: FluxShape

    def lacks(self, graph: Workflow, facts: HostFacts) -> str:
        """Return why a card cannot hold a filled workflow, and what it can; empty where it can."""
        if not facts.cuda or facts.embedded or not facts.vram_total:
            return ""
        wanted = picture(graph, self.unet)
        if wanted is None:
            return ""
        needed = vram_needs.floor(wanted, self.shape)
        if needed <= facts.vram_total:
            return ""
        nearest = " or ".join(
            str(one) for one in vram_needs.nearest(wanted, self.shape, facts.vram_total)
        )
        return (
            f"{wanted} takes at least {needed / GIB:.1f} GB of graphics memory to compute, and "
            f"{facts.device} has {facts.vram_total / GIB:.1f} GB"
            f"{f'; what fits: {nearest}' if nearest else ''} (host.check_memory = false tries it "
            "all the same)"
        )


def of(unet: str, path: Path) -> MemoryCheck | None:
    """Return the check for the pair's unet; ``None`` where its file tells no sizes."""
    try:
        return MemoryCheck(unet, vram_modules.unet_of(gguf_file.read_header(path))[0])
    except ModelError:
        return None


def picture(graph: Workflow, unet: str) -> Picture | None:
    """Return what a filled workflow samples with this unet; ``None`` where that is not known."""
    slots = find_slots(graph)
    if unet not in (_value(graph, place) for place in slots[Slot.UNET]):
        return None
    sides = [
        next((_value(graph, place) for place in slots[slot]), None)
        for slot in (Slot.WIDTH, Slot.HEIGHT)
    ]
    batch = next((_value(graph, place) for place in slots[Slot.BATCH]), 1)
    sizes = [one for one in (*sides, batch) if type(one) is int and one > 0]
    return Picture(*sizes) if len(sizes) == 3 else None


def _value(graph: Workflow, place: Place) -> Any:
    return inputs(graph, place.node).get(place.input)
