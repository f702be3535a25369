import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from bridge import workflow, workflow_files
from bridge.errors import WorkflowError
from bridge.request import LoraChoice
from configs import settings
from configs.settings import WORKFLOWS
from tests import sample_request
from tests.graph_kit import base, ksampler

GRAPH = base(sample=ksampler())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "portrait.json")
    put(tmp_path / "flux" / "two_stage.json")
    (tmp_path / "notes.txt").write_text("no workflow")
    return tmp_path


def put(path: Path, graph: Any = GRAPH) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(graph))


def test_a_workflow_is_found_by_name_in_sub_folders_too(folder: Path) -> None:
    assert workflow.names(folder) == ("flux/two_stage", "portrait")
    assert workflow.named(folder, "flux/two_stage") == GRAPH
    assert workflow.named(folder, "flux\\two_stage.json") == GRAPH


def test_an_unknown_name_is_told_with_the_nearest_and_with_those_there_are(folder: Path) -> None:
    with pytest.raises(WorkflowError) as told:
        workflow.named(folder, "potrait")
    assert "did you mean portrait?" in str(told.value)
    assert "flux/two_stage, portrait" in str(told.value)


def test_an_empty_or_missing_folder_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"Workflow > Export \(API\)"):
        workflow.named(tmp_path / "nothing", "x")


@pytest.mark.parametrize(
    "name", ["../secret", "flux/../../secret", "/etc/secret", "..\\secret", "C:\\x", "", ".json"]
)
def test_a_name_never_leads_out_of_the_folder(folder: Path, name: str) -> None:
    put(folder.parent / "secret.json")
    with pytest.raises(WorkflowError, match="names no workflow in"):
        workflow.named(folder, name)


@given(st.text(max_size=30))
def test_any_name_is_a_workflow_or_an_error(name: str) -> None:
    try:
        found = workflow.named(WORKFLOWS, name)
    except WorkflowError:
        return
    assert found


EDITOR = {"nodes": [], "links": [], "version": 0.4}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "not JSON that can be sent"),
        (b'{"1": {"class_type": "A", "inputs": {"x": 1e999}}}', "not JSON that can be sent"),
        (b'{"1": {"class_type": "A", "inputs": {"x": "\\ud800"}}}', "not JSON that can be sent"),
        (b'{"1": ' + b"9" * 5000 + b"}", "not JSON that can be sent"),
        (b"{}", "it is empty"),
        (b"[1]", "no object of nodes"),
        (b'"text"', "no object of nodes"),
        (b"null", "no object of nodes"),
        (b'{"1": {"inputs": {}}}', "'1' is no node with class_type and inputs"),
        (b'{"1": {"class_type": "A"}}', "'1' is no node"),
        (b'{"1": {"class_type": "A", "inputs": []}}', "'1' is no node"),
        (b'{"1": {"class_type": 5, "inputs": {}}}', "'1' is no node"),
        (b'{"1": null}', "'1' is no node"),
        (json.dumps(EDITOR).encode(), r"Export \(API\)"),
    ],
)
def test_a_file_that_is_no_workflow_is_refused_with_what_it_is(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "own.json").write_bytes(content)
    with pytest.raises(WorkflowError, match=says):
        workflow.load(tmp_path / "own.json")


def test_a_file_too_large_for_a_workflow_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_files, "LARGEST", 100)
    put(tmp_path / "own.json")
    with pytest.raises(WorkflowError, match="is larger than"):
        workflow.load(tmp_path / "own.json")


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.json").mkdir()
    with pytest.raises(WorkflowError, match="cannot be read"):
        workflow.load(tmp_path / "own.json")


def test_a_byte_order_mark_is_no_part_of_the_graph(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GRAPH).encode())
    assert workflow.load(tmp_path / "own.json") == GRAPH


def test_links_by_number_are_repaired_as_comfyui_takes_text_only(tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "A", "inputs": {}},
        "2": {"class_type": "B", "inputs": {"x": [1, 0]}, "_meta": None},
    }
    put(tmp_path / "own.json", graph)
    read = workflow.load(tmp_path / "own.json")
    assert read["2"] == {"class_type": "B", "inputs": {"x": ["1", 0]}}


@given(st.binary(max_size=60))
def test_any_bytes_are_a_workflow_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "own.json"
    path.write_bytes(content)
    with pytest.raises(WorkflowError):
        workflow.load(path)


# --- the file of slots beside it ---


def test_the_slots_of_the_file_beside_it_are_taken(folder: Path) -> None:
    (folder / "portrait.toml").write_text('[slots]\nseed = ["sample.seed", "latent.width"]\n')
    slots = workflow.find_slots(workflow.named(folder, "portrait"))
    assert {place.node for place in slots["seed"]} == {"sample", "latent"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 5", "one table only"),
        ("[slot]\nx = 1", "one table only"),
        ("slots = 5", "one table only"),
        ("[slots]\nseed = 5", "no input of a node"),
        ('[slots]\nseed = "99.seed"', "no input of a node"),
        ("[slots", "is not TOML"),
        ("\udc80", "is not TOML"),
    ],
)
def test_a_bad_file_of_slots_is_refused(folder: Path, text: str, says: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    (folder / "portrait.toml").write_bytes(content)
    with pytest.raises(WorkflowError, match=says):
        workflow.named(folder, "portrait")


def test_the_built_in_folder_is_the_default_setting() -> None:
    assert settings.load(environ={}).folders.workflows == WORKFLOWS


# --- whatever a user's file holds ---

VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
)
IDS = st.sampled_from(["1", "2", "3", "4", "5"])
ODD = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
LINKS = st.tuples(IDS, st.integers(-1, 2) | st.booleans()).map(list)
INPUTS = (
    "model clip positive negative latent_image guider noise sampler sigmas samples images "
    "image seed noise_seed steps cfg text clip_l value width height batch_size "
    "filename_prefix unet_name vae_name lora_name strength_model guidance start_at_step "
    "max_shift "
)
NAMES = st.sampled_from(INPUTS.split())
META = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["vulcan:prompt", "vulcan:lora", "vulcan:prefix", "vulcan:x=text"])
        | ODD,
        "vulcan": st.dictionaries(st.sampled_from(["prompt", "seed", "prefix"]), ODD) | ODD,
    },
)
NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(["KSampler", "SaveImage", "ConditioningZeroOut", "", "É"]),
        "inputs": st.dictionaries(NAMES, LINKS | ODD, max_size=9),
    },
    optional={"_meta": META | ODD},
)


@settings_of_hypothesis(max_examples=400)
@given(st.dictionaries(IDS, NODES, min_size=1), st.booleans())
def test_any_graph_of_nodes_is_built_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, graph: dict[str, Any], titled: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "own.json"
    entry = {"text": "", "filename_prefix": ""}
    if titled:
        graph["6"] = {"class_type": "A", "inputs": entry, "_meta": {"title": "vulcan:prompt"}}
    path.write_text(json.dumps(graph))
    request = replace(
        sample_request.REQUEST,
        negative="blur",
        loras=(LoraChoice("a", 1.0), LoraChoice("b", 1.0)),
        asked=("lora",) if titled else (),
    )
    try:
        done = workflow.build(workflow.load(path), request, "p/id/img")
    except WorkflowError as error:
        assert str(error)  # noqa: PT017 - both endings are right
    else:
        assert json.dumps(done, allow_nan=False)
        saved = [n["inputs"].get("filename_prefix") for n in done.values()]
        ours = [name for name in saved if str(name).startswith("p/id/img")]
        assert ours
        assert len(set(ours)) == len(ours)


def test_a_long_chain_of_nodes_is_walked_in_good_time() -> None:
    graph = base(sample=ksampler(model=("n2999", 0)), n0={"class_type": "A", "inputs": {}})
    for number in range(1, 3000):
        inputs = {"model": [f"n{number - 1}", 0], "clip": ["clip", 0]}
        graph[f"n{number}"] = {"class_type": "A", "inputs": inputs}
    assert workflow.find_slots(graph)["prompt"]
