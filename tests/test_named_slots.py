from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.graph import Place, Workflow, reference
from bridge.named_slots import mark, named
from bridge.request import Scalar
from tests import sample_request
from tests.graph_kit import base, ksampler, node, values

REQUEST = replace(sample_request.REQUEST, steps=8, seed=77)


def with_slots(*slots: tuple[str, Scalar]) -> Any:
    return replace(REQUEST, slots=slots, asked=tuple(name for name, _ in slots))


def own(title: str, **inputs: Any) -> Workflow:
    return base(sample=ksampler(), own=node("Own", title, **inputs))


def test_a_title_wins_over_the_walk() -> None:
    graph = own("vulcan:steps", value=3)
    done = workflow.build(graph, REQUEST, "p")
    assert values(done, "own")["value"] == 8
    assert values(done, "sample")["steps"] == 20


def test_a_title_may_say_which_input_it_means_and_several_slots() -> None:
    done = workflow.build(own("Vulcan: width = w, height=h", w=1, h=1, value=5), REQUEST, "p")
    assert values(done, "own") == {"w": 64, "h": 64, "value": 5}
    assert values(done, "latent")["width"] == 512


def test_a_titled_node_is_followed_to_where_its_value_is_kept() -> None:
    graph = own("kept", value=3)
    graph["sample"]["_meta"]["title"] = "vulcan:steps"
    graph["sample"]["inputs"]["steps"] = ["own", 0]
    assert values(workflow.build(graph, REQUEST, "p"), "own")["value"] == 8


def test_two_nodes_of_one_title_get_the_same_value() -> None:
    graph = own("vulcan:seed", value=0)
    graph["more"] = node("Own", "vulcan:seed", seed=0)
    done = workflow.build(graph, REQUEST, "p")
    assert (values(done, "own")["value"], values(done, "more")["seed"]) == (77, 77)


def test_other_names_are_the_workflows_own_slots() -> None:
    done = workflow.build(own("vulcan:strength=s", s=1.0), with_slots(("strength", 0.25)), "p")
    assert values(done, "own")["s"] == 0.25


def test_an_input_can_be_set_by_node_and_name() -> None:
    done = workflow.build(base(sample=ksampler()), with_slots(("sample.cfg", 4.5)), "p")
    assert values(done, "sample")["cfg"] == 4.5


def test_a_slot_that_nobody_named_is_an_error_with_those_there_are() -> None:
    with pytest.raises(WorkflowError, match=r"no slot blur \(its own are: strength\).*vulcan:blur"):
        workflow.build(own("vulcan:strength=s", s=1.0), with_slots(("blur", 1)), "p")


@pytest.mark.parametrize("name", ["sample.nothing", "99.seed", "sample", ".", "sample."])
def test_an_input_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(WorkflowError, match="has no slot"):
        workflow.build(base(sample=ksampler()), with_slots((name, 1)), "p")


@pytest.mark.parametrize(
    ("title", "inputs", "says"),
    [
        ("vulcan:strength", {"a": 1, "b": 2}, r"vulcan:strength=INPUT, with one of: a, b"),
        ("vulcan:strength=c", {"a": 1}, r"with one of: a"),
        ("vulcan:steps", {"steps": ("latent", 0)}, "not clear which input"),
        ("vulcan:", {"a": 1}, "names no slot"),
        ("vulcan:two words", {"a": 1}, "names no slot"),
    ],
)
def test_a_title_that_cannot_be_followed_says_what_to_write(
    title: str, inputs: dict[str, Any], says: str
) -> None:
    with pytest.raises(WorkflowError, match=says):
        workflow.find_slots(own(title, **inputs))


@given(st.text(max_size=20))
def test_a_title_is_a_slot_or_an_error_but_never_a_crash(title: str) -> None:
    try:
        named(own(f"vulcan:{title}", a=1, b=2), "own")
    except WorkflowError as error:
        assert "node own is titled" in str(error)  # noqa: PT017 - both endings are right


def test_the_file_beside_a_workflow_wins_over_titles_and_travels_inside_it() -> None:
    graph = own("vulcan:steps", value=3)
    mark(graph, {"steps": "sample.steps", "sides": ["latent.width", "latent.height"]}, "own")
    done = workflow.build(graph, with_slots(("sides", 128)), "p")
    assert values(done, "own")["value"] == 3
    assert values(done, "sample")["steps"] == 8
    assert values(done, "latent")["width"] == values(done, "latent")["height"] == 128
    assert named(done, "own")["steps"] == (Place("sample", "steps"),)


@pytest.mark.parametrize("wanted", ["25.seed", "sample", 5, ["sample.seed", None], {"a": "b"}])
def test_a_file_that_names_what_is_not_there_is_refused(wanted: Any) -> None:
    with pytest.raises(WorkflowError, match="which is no input of a node here"):
        mark(base(sample=ksampler()), {"seed": wanted}, "own")


def test_ids_of_sub_graphs_and_dotted_inputs_can_be_referred_to() -> None:
    dotted: dict[str, Any] = {"a.b": 1}
    graph = Workflow({"12:3.4": node("Own", "", **dotted)})
    assert reference(graph, "12:3.4.a.b") == Place("12:3.4", "a.b")
    assert reference(graph, "12:3.4") is None
