import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import Catalogue
from bridge.check import Kind, Problem, check, respelled
from bridge.graph import Workflow
from host import nodes
from host.node_types import object_info
from tests import comfyui_catalogue
from tests.host_kit import LAB, folders_below, transcript

COMFYUI = comfyui_catalogue.catalogue()
FILES = {
    "unet_name": ["flux\\u.gguf"],
    "lora_name": ["l.safetensors"],
    "clip_name1": ["c.safetensors", "t.safetensors"],
    "clip_name2": ["c.safetensors", "t.safetensors"],
    "vae_name": ["v.safetensors"],
}
STOCKED = comfyui_catalogue.catalogue(**FILES)
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
EMPTY = {
    "class_type": "EmptyImage",
    "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
}


def graph(**more: Any) -> Workflow:
    return Workflow({"1": deepcopy(EMPTY), "9": deepcopy(SAVE), **more})


def only(problems: tuple[Problem, ...]) -> Problem:
    (problem,) = problems
    return problem


# --- ComfyUI's own verdicts ---


def posted() -> list[Any]:
    """Every recorded POST /prompt whose graph was judged, with its verdict."""
    cases = []
    for entry in [*transcript("http_prompt_ok"), *transcript("http_prompt_errors")]:
        sent = entry["request"]
        body = sent["json"] if isinstance(sent["json"], dict) else {}
        if sent["method"] != "POST" or not isinstance(body.get("prompt"), dict):
            continue
        if entry["status"] == 500 or "partial_execution_targets" in body:
            continue  # not a verdict about the graph
        clean = entry["status"] == 200 and not entry["json"].get("node_errors")
        cases.append(pytest.param(body["prompt"], clean, id=entry["label"]))
    return cases


def lab_catalogue() -> Catalogue:
    """What the recording ComfyUI offered: its own nodes, and the laboratory's."""
    info = comfyui_catalogue.object_info()
    folders = folders_below(comfyui_catalogue.RECORDED)
    return Catalogue.read(info | {node.name: object_info(node, folders) for node in LAB})


@pytest.mark.parametrize(("prompt", "clean"), posted())
def test_what_comfyui_took_passes_and_what_it_refused_does_not(prompt: Any, clean: bool) -> None:
    assert (check(Workflow(prompt), lab_catalogue()) == ()) is clean


def test_the_recordings_hold_both_verdicts_in_number() -> None:
    verdicts = [case.values[1] for case in posted()]
    assert verdicts.count(True) >= 10
    assert verdicts.count(False) >= 14


# --- each kind reads as one sentence ---


def test_a_node_that_the_host_lacks_is_told_with_its_nearest_names() -> None:
    problem = only(check(graph(x={"class_type": "KSamplr", "inputs": {}}), COMFYUI))
    assert (problem.kind, problem.node, problem.class_type) == (Kind.NODE, "x", "KSamplr")
    assert str(problem).startswith("node x (KSamplr): the host has no such node type; it has KSamp")


def test_for_missing_gguf_nodes_it_says_where_to_get_them() -> None:
    info = comfyui_catalogue.object_info()
    del info["UnetLoaderGGUF"]
    loader = {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "x.gguf"}}
    problem = only(check(graph(x=loader), Catalogue.read(info)))
    assert "https://github.com/city96/ComfyUI-GGUF" in problem.fix


@pytest.mark.parametrize(
    ("name", "file", "says"),
    [
        ("unet_name", "other.gguf", "models/unet"),
        ("unet_name", "old/u.gguf", "or use flux\\u.gguf, which it has"),
        ("unet_name", "flux/u.gguf", "flux\\u.gguf"),
        ("vae_name", "w.safetensors", "models/vae folder; or use v.safetensors"),
    ],
)
def test_a_model_that_is_not_there_is_told_with_folder_and_nearest(
    name: str, file: str, says: str
) -> None:
    kind = "UnetLoaderGGUF" if name == "unet_name" else "VAELoader"
    loader = {"class_type": kind, "inputs": {name: file}}
    reader = {
        "class_type": "VAEDecode",
        "inputs": {"samples": ["s", 0], "vae": ["x", 0]},
    }
    used = graph(x=loader, d=reader, s=latent())
    used["1"] = {
        "class_type": "ImageScale",
        "inputs": {
            "image": ["d", 0],
            "upscale_method": "area",
            "width": 64,
            "height": 64,
            "crop": "center",
        },
    }
    if kind == "UnetLoaderGGUF":
        used["d"]["inputs"] = {"samples": ["k", 0], "vae": ["v", 0]}
        used["v"] = {"class_type": "VAELoader", "inputs": {"vae_name": "v.safetensors"}}
        used["k"] = sampler()
        used["c"] = conditioning()
        used["e"] = clip()
    problem = only(check(used, STOCKED))
    assert (problem.kind, problem.input) == (Kind.MODEL, name)
    assert says in problem.fix


def latent() -> dict[str, Any]:
    values = {"width": 64, "height": 64, "batch_size": 1}
    return {"class_type": "EmptyLatentImage", "inputs": values}


def sampler() -> dict[str, Any]:
    values = {
        "model": ["x", 0],
        "positive": ["c", 0],
        "negative": ["c", 0],
        "latent_image": ["s", 0],
        "seed": 2**64 - 1,
        "steps": 4,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    return {"class_type": "KSampler", "inputs": values}


def conditioning() -> dict[str, Any]:
    return {"class_type": "CLIPTextEncode", "inputs": {"clip": ["e", 0], "text": ""}}


def clip() -> dict[str, Any]:
    values = {"clip_name1": "c.safetensors", "clip_name2": "t.safetensors", "type": "flux"}
    return {"class_type": "DualCLIPLoaderGGUF", "inputs": values}


def test_the_hosts_own_spelling_is_put_in_and_then_passes() -> None:
    loader = Workflow(
        {"x": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "flux/u.gguf"}}}
    )
    spelled = respelled(loader, STOCKED)
    assert spelled["x"]["inputs"]["unet_name"] == "flux\\u.gguf"
    assert loader["x"]["inputs"]["unet_name"] == "flux/u.gguf"


def test_what_the_host_does_not_have_is_left_as_it_is_written() -> None:
    loader = Workflow({"x": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "no.gguf"}}})
    assert respelled(loader, STOCKED) == loader


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"width": 0}, Kind.VALUE, "width is 0, the host takes 1 or more"),
        ({"width": 99999}, Kind.VALUE, "the host takes 16384 or less"),
        ({"width": "wide"}, Kind.VALUE, "width is 'wide', which is no INT"),
        ({"width": None}, Kind.VALUE, "which is no INT"),
        ({"width": ["1"]}, Kind.LINK, "a link is"),
        ({"width": ["77", 0]}, Kind.LINK, "no such node"),
        ({"width": [9, 0]}, Kind.LINK, "no such node"),
        ({"width": [["1"], 0]}, Kind.LINK, "no such node"),
        ({"width": ["l", 3]}, Kind.LINK, "that node has 1 outputs"),
        ({"width": ["l", "0"]}, Kind.LINK, "that node has 1 outputs"),
        ({"width": ["l", 0]}, Kind.LINK, "takes INT, and node l gives LATENT"),
    ],
)
def test_a_bad_input_is_told_with_what_would_do(change: Any, kind: Kind, says: str) -> None:
    bad = graph(l=latent())
    bad["1"]["inputs"] |= change
    problem = only(check(bad, COMFYUI))
    assert (problem.kind, problem.node, problem.input) == (kind, "1", "width")
    assert says in str(problem)


def test_a_missing_input_is_a_value_or_a_link_by_its_type() -> None:
    bare = graph()
    del bare["1"]["inputs"]["width"]
    assert only(check(bare, COMFYUI)).kind is Kind.VALUE
    bare = graph()
    del bare["9"]["inputs"]["images"]
    assert only(check(bare, COMFYUI)).kind is Kind.LINK


def test_a_word_that_a_combo_lacks_is_told_with_those_it_has() -> None:
    used = graph(x={"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}})
    used["9"]["inputs"]["images"] = ["y", 0]
    values = {"image": ["x", 0], "upscale_method": "lanczoz", "width": 1, "height": 1}
    used["y"] = {"class_type": "ImageScale", "inputs": {**values, "crop": "center"}}
    problem = only(check(used, COMFYUI))
    assert problem.kind is Kind.VALUE
    assert "use one of: lanczos" in problem.fix


def test_a_graph_without_output_has_a_problem_of_its_own() -> None:
    problem = only(check(Workflow({"1": EMPTY}), COMFYUI))
    assert (problem.kind, problem.node) == (Kind.OUTPUT, "")
    assert str(problem) == "the workflow has no output; add a Save Image node"


def test_a_circle_is_told_once() -> None:
    tied = graph(x={"class_type": "ImageInvert", "inputs": {"image": ["x", 0]}})
    tied["9"]["inputs"]["images"] = ["x", 0]
    assert only(check(tied, COMFYUI)).kind is Kind.LINK


# --- what ComfyUI takes is never refused ---


@pytest.mark.parametrize(
    "change",
    [
        {"width": "64"},
        {"width": 64.9},
        {"width": True},
        {"width": {"__value__": 64}},
        {"unknown": ["77", 0]},
        {"unknown": [1, 2, 3]},
    ],
)
def test_values_are_converted_and_undeclared_inputs_ignored_as_there(change: Any) -> None:
    odd = graph()
    odd["1"]["inputs"] |= change
    assert check(odd, COMFYUI) == ()


def test_nodes_that_no_output_needs_are_not_looked_into() -> None:
    assert check(graph(x={"class_type": "KSampler", "inputs": {}}), COMFYUI) == ()
    assert check(graph(x={"class_type": "KSampler"}), COMFYUI) == ()


def test_a_plain_value_in_place_of_a_link_passes_as_there() -> None:
    odd = graph()
    odd["9"]["inputs"]["images"] = "picture"
    assert check(odd, COMFYUI) == ()


def test_a_picture_need_not_be_listed_as_it_may_have_been_uploaded_meanwhile() -> None:
    loading = graph()
    loading["1"] = {"class_type": "LoadImage", "inputs": {"image": "vulcan/in/pose.png"}}
    assert check(loading, COMFYUI) == ()


def test_lists_limits_and_types_of_extensions_are_not_held_against_a_graph() -> None:
    entry = {
        "input": {"required": {"mode": [["a"], {}], "n": ["INT", {"max": 3}], "i": ["MODEL", {}]}},
        "output": ["THING"],
        "python_module": "custom_nodes.own",
        "output_node": True,
    }
    host = Catalogue.read(comfyui_catalogue.object_info() | {"Own": entry})
    own = {"class_type": "Own", "inputs": {"mode": "b", "n": 9, "i": ["1", 0]}}
    assert check(graph(x=own), host) == ()
    problem = only(
        check(graph(x={"class_type": "Own", "inputs": {"mode": "b", "n": "z", "i": 1}}), host)
    )
    assert problem.input == "n"


def test_a_list_of_the_newer_form_binds_model_files_only() -> None:
    entry = {
        "input": {
            "required": {
                "mode": ["COMBO", {"options": ["a"]}],
                "model_name": ["COMBO", {"options": ["m.pth"]}],
            }
        },
        "output_node": True,
        "python_module": "comfy_extras.nodes_new",
    }
    host = Catalogue.read({"New": entry})
    new = Workflow({"1": {"class_type": "New", "inputs": {"mode": "b", "model_name": "n.pth"}}})
    assert only(check(new, host)).input == "model_name"


def test_any_type_goes_with_any() -> None:
    entry = {"input": {"required": {"x": ["*", {}]}}, "output": ["*"], "output_node": True}
    host = Catalogue.read(comfyui_catalogue.object_info() | {"Any": entry})
    through = graph(x={"class_type": "Any", "inputs": {"x": ["1", 0]}})
    through["9"]["inputs"]["images"] = ["x", 0]
    assert check(through, host) == ()


def test_the_embedded_hosts_own_table_can_be_checked_against() -> None:
    folders = folders_below(comfyui_catalogue.RECORDED)
    host = Catalogue.read({row.name: object_info(row, folders) for row in nodes.TABLE.values()})
    assert check(graph(), host) == ()


# --- whatever it is given ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
LINKS = st.tuples(st.sampled_from(["1", "9", "2", "7"]), st.integers(-3, 3) | JSON).map(list)
INPUT_NAMES = st.sampled_from(["images", "image", "width", "height", "seed", "model", "text", "x"])
NODES = st.fixed_dictionaries(
    {},
    optional={
        "class_type": st.sampled_from([*sorted(COMFYUI.class_types)[::9], "SaveImage"]) | JSON,
        "inputs": st.dictionaries(INPUT_NAMES, JSON | LINKS) | JSON,
    },
)


@given(st.dictionaries(st.sampled_from(["1", "2", "7", "9"]), NODES | JSON) | JSON)
def test_whatever_a_graph_holds_the_answer_is_problems_that_can_be_read(odd: Any) -> None:
    for problem in check(odd, COMFYUI):
        assert str(problem)
        assert json.dumps(problem.what)
    if isinstance(odd, dict):
        assert set(respelled(Workflow(odd), STOCKED)) == set(odd)
