from dataclasses import replace
from typing import Any

from bridge import workflow
from bridge.graph import Workflow
from bridge.request import LoraChoice, Request
from tests import sample_request
from tests.graph_kit import base, ksampler, node, values

ONE = replace(sample_request.REQUEST, unet="u.gguf", loras=(LoraChoice("a", 0.5),))
TWO = replace(ONE, loras=(LoraChoice("a", 0.5), LoraChoice("b", -0.25)))
NONE = replace(ONE, loras=())


def loader(model: str, name: str = "own", title: str = "", **more: Any) -> dict[str, Any]:
    kind = "LoraLoader" if "clip" in more else "LoraLoaderModelOnly"
    return node(kind, title, model=(model, 0), lora_name=name, strength_model=1.0, **more)


def stack(graph: Workflow, at: str) -> list[tuple[str, float]]:
    """LoRAs on a node's way to its model, the nearest to the model first."""
    source = graph[at]["inputs"]["model"][0]
    found: list[tuple[str, float]] = []
    while "model" in graph[source]["inputs"]:
        inputs = graph[source]["inputs"]
        if "lora_name" in inputs:
            found.insert(0, (inputs["lora_name"], inputs["strength_model"]))
        source = inputs["model"][0]
    assert source == "unet"
    return found


def built(graph: Workflow, request: Request) -> Workflow:
    return workflow.build(graph, request, "p")


def test_a_stack_of_the_users_own_is_replaced_by_the_requests() -> None:
    graph = base(sample=ksampler(model=("l2", 0)), l1=loader("unet"), l2=loader("l1"))
    assert stack(built(graph, TWO), "sample") == [("a", 0.5), ("b", -0.25)]


def test_a_lora_that_the_user_saved_is_not_dropped_by_silence_but_by_word() -> None:
    graph = base(sample=ksampler(model=("l1", 0)), l1=loader("unet"))
    assert stack(built(graph, NONE), "sample") == [("own", 1.0)]
    assert stack(built(graph, replace(NONE, asked=("lora",))), "sample") == []


def test_a_titled_loader_is_the_place_and_the_others_stay() -> None:
    graph = base(
        sample=ksampler(model=("l2", 0)),
        l1=loader("unet", "turbo"),
        l2=loader("l1", title="vulcan:lora"),
    )
    assert stack(built(graph, TWO), "sample") == [("turbo", 1.0), ("a", 0.5), ("b", -0.25)]
    assert stack(built(graph, NONE), "sample") == [("turbo", 1.0)]


def test_a_loader_may_take_a_share_of_each_strength_also_when_it_is_built_again() -> None:
    title = "vulcan:lora, share=strength_model"
    graph = base(
        sample=ksampler(model=("half", 0)),
        other=ksampler(model=("bare", 0)),
        half=loader("unet", title=title),
        bare=loader("unet", title=title),
    )
    graph["half"]["inputs"]["strength_model"] = 0.5
    graph["bare"]["inputs"]["strength_model"] = 0
    once = built(graph, TWO)
    for done in (once, built(once, TWO)):
        assert stack(done, "sample") == [("a", 0.25), ("b", -0.125)]
        assert stack(done, "other") == [("a", 0.0), ("b", 0.0)]


def test_a_loader_that_another_slot_names_stays() -> None:
    graph = base(
        sample=ksampler(model=("l2", 0)),
        l1=loader("unet", "turbo", title="vulcan:turbo=strength_model"),
        l2=loader("l1"),
    )
    request = replace(ONE, slots=(("turbo", 0.125),), asked=("turbo",))
    assert stack(built(graph, request), "sample") == [("turbo", 0.125), ("a", 0.5)]


def test_a_loader_with_a_clip_link_keeps_it_through_the_whole_stack() -> None:
    graph = base(
        sample=ksampler(model=("l1", 0)),
        l1=loader("unet", clip=("clip", 0), strength_clip=1.0),
        text=node("CLIPTextEncode", clip=("l1", 1), text="own words"),
    )
    done = built(graph, TWO)
    last = done[done["text"]["inputs"]["clip"][0]]["inputs"]
    assert done["text"]["inputs"]["clip"][1] == 1
    assert (last["lora_name"], last["strength_clip"]) == ("b", -0.25)
    first = done[last["clip"][0]]["inputs"]
    assert (first["lora_name"], first["clip"]) == ("a", ["clip", 0])
    assert stack(done, "sample") == [("a", 0.5), ("b", -0.25)]
    bare = built(graph, replace(NONE, asked=("lora",)))
    assert bare["text"]["inputs"]["clip"] == ["clip", 0]


def test_a_mixed_stack_leaves_no_link_to_a_loader_that_is_gone() -> None:
    graph = base(
        sample=ksampler(model=("l3", 0)),
        l1=loader("unet"),
        l2=loader("l1", clip=("clip", 0), strength_clip=1.0),
        l3=loader("l2"),
        text=node("CLIPTextEncode", clip=("l2", 1), text="own words"),
    )
    done = built(graph, TWO)
    workflow.find_slots(done)  # refuses broken links
    assert stack(done, "sample") == [("a", 0.5), ("b", -0.25)]
    assert values(done, "text")["clip"] == ["clip", 0]


def test_without_a_loader_they_go_behind_the_model_for_all_that_read_it() -> None:
    graph = base(
        sample=ksampler(model=("shift", 0)),
        shift=node("ModelSamplingFlux", model=("unet", 0), max_shift=1.15),
        other=ksampler(),
    )
    done = built(graph, TWO)
    assert stack(done, "sample") == [("a", 0.5), ("b", -0.25)]
    assert stack(done, "other") == [("a", 0.5), ("b", -0.25)]


def test_two_stages_with_stacks_of_their_own_get_the_same_loras() -> None:
    graph = base(
        first=ksampler(model=("l1", 0)),
        sample=ksampler(model=("l2", 0), latent_image=("first", 0)),
        l1=loader("unet"),
        l2=loader("unet"),
    )
    done = built(graph, TWO)
    assert stack(done, "first") == stack(done, "sample") == [("a", 0.5), ("b", -0.25)]


def test_building_again_what_was_built_gives_the_same_stack() -> None:
    graph = base(sample=ksampler(model=("l1", 0)), l1=loader("unet", title="vulcan:lora"))
    once = built(graph, TWO)
    assert stack(built(once, TWO), "sample") == stack(once, "sample")
    assert stack(built(once, NONE), "sample") == []
