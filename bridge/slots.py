"""Finds what a request can fill in any API-format graph.

Where values stand is walked for (:mod:`bridge.slot_walk`); names that the user gave win
(:mod:`bridge.named_slots`), and what has a name of its own is not found by walking.

What this file refuses to know: which files exist, what a host supports, what a request says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.errors import WorkflowError
from bridge.graph import (
    Place,
    Workflow,
    broken_links,
    circle,
    inputs,
    sorted_ids,
    upwards,
)
from bridge.named_slots import STANDARD, Slot, named
from bridge.slot_walk import Walk


@dataclass(frozen=True, slots=True)
class Slots:
    """Where a request's values go.

    Attributes:
        places: slot -> inputs to write; a slot that the graph does not have is missing.
        named: slots that the user named.
        outputs: nodes that save files, the main one first.
        samplers: nodes that sample, the first stage first.
        texts: text encoders of the prompt, the first stage's first.
        negatives: inputs that take a negative prompt, for an encoder to be put there.
    """

    places: Mapping[str, tuple[Place, ...]]
    named: frozenset[str]
    outputs: tuple[str, ...]
    samplers: tuple[str, ...]
    texts: tuple[str, ...]
    negatives: tuple[Place, ...]

    def __getitem__(self, slot: str) -> tuple[Place, ...]:
        """Return the inputs of a slot, empty where the graph does not have it."""
        return self.places.get(slot, ())


def find_slots(graph: Workflow, name: str = "workflow") -> Slots:
    """Find what a request can fill.

    Args:
        graph: an API-format graph.
        name: the workflow's, for complaints.

    Raises:
        WorkflowError: nothing saves a picture, a link leads nowhere or in a circle, or there is
            no place for a prompt.
    """
    explicit = named(graph, name)
    outputs = _outputs(graph, explicit, name)
    above = upwards(graph, outputs)
    _refuse_tangles(graph, above, name)
    own = frozenset(p for slot, found in explicit.items() if slot not in STANDARD for p in found)
    walk = Walk(graph, outputs, above, own)
    places = {slot: found for slot, found in walk.places().items() if found} | explicit
    if not places.get(Slot.PROMPT):
        raise WorkflowError(
            name,
            "has no place for the prompt: no text encoder on the way from its output to the "
            "sampler holds a text of its own; in ComfyUI, title the node that should take it "
            "vulcan:prompt and export the workflow again",
        )
    return Slots(
        places=places,
        named=frozenset(explicit),
        outputs=outputs,
        samplers=walk.samplers,
        texts=walk.texts,
        negatives=walk.negatives,
    )


def _outputs(
    graph: Workflow, explicit: Mapping[str, tuple[Place, ...]], name: str
) -> tuple[str, ...]:
    saving = sorted_ids(node for node in graph if "filename_prefix" in inputs(graph, node))
    chosen = [place.node for place in explicit.get(Slot.PREFIX, ())]
    outputs = tuple(dict.fromkeys([*chosen, *saving]))
    if not outputs:
        raise WorkflowError(
            name,
            "saves no picture: no node has a filename_prefix; add a Save Image node in ComfyUI",
        )
    return outputs


def _refuse_tangles(graph: Workflow, above: list[str], name: str) -> None:
    for place, missing in broken_links(graph, above):
        raise WorkflowError(
            name,
            f"a link points to node {missing}, which is not there "
            f"(input {place.input} of node {place.node}); export it again from ComfyUI",
        )
    tangled = circle(graph, above)
    if tangled:
        raise WorkflowError(name, f"nodes wait for each other in a circle: {', '.join(tangled)}")
