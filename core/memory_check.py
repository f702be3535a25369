"""Whether a host's card can hold a job at all; where not, the nearest that it can.

Loading in part means that no model is too large for a card, so only what computing itself takes can
forbid a job: its size and batch. What is not known (a model that is not here, a size that the
workflow makes itself, a device whose memory is not a card's) forbids nothing.

Asked with each kind of job (:mod:`core.suitability`), of what the host said when it was connected:
no call of its own. How much a job takes is :mod:`models.vram_needs`'.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bridge.answers import HostFacts
from bridge.graph import Place, Workflow, inputs
from bridge.workflow import Slot, find_slots
from models import gguf_file, store, vram_modules, vram_needs
from models.errors import ModelError
from models.flux import FluxShape
from models.vram_needs import Picture

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """Holds jobs against cards.

    Attributes:
        shape_of: a unet's sizes by its name, as jobs have it; ``None`` if they are not known.
    """

    shape_of: Callable[[str], FluxShape | None]

    def lacks(self, graph: Workflow, facts: HostFacts) -> str:
        """Return why a card cannot hold a filled workflow, and what it can; empty where it can."""
        if not facts.cuda or facts.embedded or not facts.vram_total:
            return ""
        wanted, shape = picture(graph), self._shape(graph)
        if wanted is None or shape is None:
            return ""
        needed = vram_needs.floor(wanted, shape)
        if needed <= facts.vram_total:
            return ""
        nearest = " or ".join(
            str(one) for one in vram_needs.nearest(wanted, shape, facts.vram_total)
        )
        return (
            f"{wanted} takes at least {needed / GIB:.1f} GB of graphics memory to compute, and "
            f"{facts.device} has {facts.vram_total / GIB:.1f} GB"
            f"{f'; what fits: {nearest}' if nearest else ''} (host.check_memory = false tries it "
            "all the same)"
        )

    def _shape(self, graph: Workflow) -> FluxShape | None:
        """The smallest unet's sizes; ``None`` where one is not known."""
        names = {_value(graph, place) for place in find_slots(graph)[Slot.UNET]}
        found = [self.shape_of(name) if isinstance(name, str) else None for name in names]
        known = [shape for shape in found if shape is not None]
        return (
            min(known, key=lambda one: one.hidden) if known and len(known) == len(found) else None
        )


@cache
def _shape_of(path: Path, stamp: str) -> FluxShape:
    del stamp  # only so that another file is read anew
    return vram_modules.unet_of(gguf_file.read_header(path))[0]


def of(unet: str, path: Path, folders: Sequence[Path]) -> MemoryCheck:
    """Return the check for jobs with the pair's unet, or with any in these folders.

    Args:
        unet: the pair's, as hosts list it.
        path: where it lies.
        folders: where named pairs have theirs.
    """

    def shape_of(name: str) -> FluxShape | None:
        try:
            found = path if name == unet else store.find(folders, name)
            return _shape_of(found, store.stamp(found))
        except ModelError:
            return None

    return MemoryCheck(shape_of)


def picture(graph: Workflow) -> Picture | None:
    """Return what a filled workflow samples; ``None`` where that is not known."""
    slots = find_slots(graph)
    sides = [
        next((_value(graph, place) for place in slots[slot]), None)
        for slot in (Slot.WIDTH, Slot.HEIGHT)
    ]
    batch = next((_value(graph, place) for place in slots[Slot.BATCH]), 1)
    sizes = [one for one in (*sides, batch) if type(one) is int and one > 0]
    return Picture(*sizes) if len(sizes) == 3 else None


def _value(graph: Workflow, place: Place) -> Any:
    return inputs(graph, place.node).get(place.input)
