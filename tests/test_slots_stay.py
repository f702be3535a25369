"""The same graph, written differently, makes the same picture."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge import workflow
from bridge.graph import Place, Workflow
from bridge.request import LoraChoice
from bridge.workflow import Slot
from configs.settings import WORKFLOWS
from tests.graph_kit import rewritten, unfolded
from tests.slot_kit import REQUEST, built, custom, two_stages

# --- the same graph, written differently ---

TEMPLATES = {name: workflow.named(WORKFLOWS, name) for name in workflow.names(WORKFLOWS)} | {
    "two stages": two_stages(),
    "custom": custom(),
}
FULL = replace(
    REQUEST,
    negative="",
    sampler="heun",
    scheduler="beta",
    denoise=0.6,
    loras=(LoraChoice("a", 0.5), LoraChoice("b", -0.25)),
)


def saved(graph: Workflow) -> str:
    (output,) = (one for one in graph if "filename_prefix" in graph[one]["inputs"])
    return output


@given(st.sampled_from(sorted(TEMPLATES)), st.randoms(use_true_random=False), st.text(max_size=20))
def test_a_graph_renumbered_retitled_and_reordered_makes_the_same_picture(
    name: str, chance: random.Random, prompt: str
) -> None:
    request = replace(FULL, prompt=prompt)
    graph, other = (
        built(TEMPLATES[name], request),
        built(rewritten(TEMPLATES[name], chance), request),
    )
    assert unfolded(graph, saved(graph)) == unfolded(other, saved(other))


def test_the_places_of_the_plain_template_are_these() -> None:
    slots = workflow.find_slots(TEMPLATES["txt2img"])
    assert slots[Slot.SEED] == (Place("8", "seed"),)
    assert slots[Slot.PROMPT] == (Place("4", "text"),)
    assert slots[Slot.LORA] == (Place("2", "lora_name"),)
    assert Slot.NEGATIVE not in slots.places
    assert Slot.IMAGE not in slots.places
