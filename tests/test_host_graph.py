"""Graphs: validation in ComfyUI's words, order, cache keys."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.graph import CycleError, Link, cache_keys, link, order
from host.node_types import object_info
from host.validation import Verdict, validate
from tests.host_kit import TABLE, folders_below, transcript

IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}


def image(**changed: Any) -> dict[str, Any]:
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": 1, **changed}
    return {"class_type": "EmptyImage", "inputs": inputs}


def save(source: Any, prefix: str = "lab") -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": source, "filename_prefix": prefix}}


def check(graph: object, root: Path, targets: list[str] | None = None) -> Verdict:
    return validate(graph, TABLE, folders_below(root), targets)


RECORDED = {
    entry["label"]: entry
    for entry in transcript("http_prompt_errors")
    if entry["label"] and isinstance(entry["request"]["json"], dict)
}
# What a real ComfyUI accepts or calls differently, each with its reason.
NOT_REPLAYED = {
    "no prompt field": "the route's business",
    "prompt null": "500 there; here 400, see test_host_server",
    "prompt is a list": "500 there; here 400, see test_host_server",
    "number not a number": "500 there; here 400, see test_host_server",
    "extra_data null": "500 there; here it is simply accepted",
    "model files not there + bad sampler (value_not_in_list)": "other sampler lists, see below",
    "cyclic graph": "uses nodes that are not here, see below",
}


@pytest.mark.parametrize("label", sorted(set(RECORDED) - set(NOT_REPLAYED)))
def test_verdict_is_the_recorded_one(label: str, tmp_path: Path) -> None:
    entry = RECORDED[label]
    body = entry["request"]["json"]
    verdict = check(body["prompt"], tmp_path, body.get("partial_execution_targets"))
    recorded = entry["json"]
    assert verdict.node_errors == recorded["node_errors"]
    assert verdict.error == recorded.get("error")
    assert bool(verdict.outputs) == (entry["status"] == 200)


def test_every_wrong_model_name_is_reported_at_its_loader(tmp_path: Path) -> None:
    recorded = RECORDED["model files not there + bad sampler (value_not_in_list)"]
    verdict = check(recorded["request"]["json"]["prompt"], tmp_path)
    theirs = {
        node: [(item["type"], item["extra_info"]["input_name"]) for item in entry["errors"]]
        for node, entry in recorded["json"]["node_errors"].items()
    }
    ours = {
        node: [(item["type"], item["extra_info"]["input_name"]) for item in entry["errors"]]
        for node, entry in verdict.node_errors.items()
    }
    assert ours == theirs
    assert verdict.error == recorded["json"]["error"]
    unet = verdict.node_errors["1"]["errors"][0]
    assert unet["details"] == "unet_name: 'flux1-dev-Q4_K_S.gguf' not in []"


def test_model_lists_come_from_the_folders_at_each_call(tmp_path: Path) -> None:
    loader = TABLE["UnetLoaderGGUF"]
    folders = folders_below(tmp_path)
    assert object_info(loader, folders)["input"]["required"]["unet_name"] == [[]]
    (folders.models / "unet" / "sub").mkdir(parents=True)
    (folders.models / "unet" / "sub" / "a.gguf").touch()
    (folders.models / "unet" / "b.safetensors").touch()
    (folders.models / "unet" / ".hidden").mkdir()
    (folders.models / "unet" / ".hidden" / "c.gguf").touch()
    assert object_info(loader, folders)["input"]["required"]["unet_name"] == [["sub/a.gguf"]]


def test_long_lists_are_not_sent_back(tmp_path: Path) -> None:
    unets = tmp_path / "models" / "unet"
    unets.mkdir(parents=True)
    for number in range(21):
        (unets / f"{number}.gguf").touch()
    graph = {
        "1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "x"}},
        "2": {"class_type": "LabFail", "inputs": {"image": ["1", 0], "message": "", "kind": ""}},
        "9": save(["2", 0]),
    }
    graph["2"] = image(width=["1", 0])
    verdict = check(graph, tmp_path)
    # The link has the wrong type, so ComfyUI does not even look at the loader.
    assert verdict.node_errors["2"]["errors"][0]["type"] == "return_type_mismatch"
    assert "1" not in verdict.node_errors
    loader = {
        "1": graph["1"],
        "3": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"model": ["1", 0], "lora_name": "", "strength_model": 1},
        },
    }
    sampler = dict.fromkeys(("seed", "steps", "cfg", "denoise"), 1)
    wires = {name: ["3", 0] for name in ("model", "positive", "negative", "latent_image")}
    loader["4"] = {"class_type": "KSampler", "inputs": {**sampler, **wires}}
    loader["5"] = {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 0]}}
    loader["9"] = save(["5", 0])
    error = check(loader, tmp_path).node_errors["1"]["errors"][0]
    assert error["details"] == "unet_name: 'x' not in (list of length 21)"
    assert error["extra_info"]["input_config"] is None


def test_a_cycle_is_refused_and_named(tmp_path: Path) -> None:
    slow = {"seconds": 1, "steps": 1, "preview": False, "nonce": 1}
    graph = {
        "1": {"class_type": "LabSlow", "inputs": {"image": ["2", 0], **slow}},
        "2": {"class_type": "LabSlow", "inputs": {"image": ["1", 0], **slow}},
        "9": save(["2", 0]),
    }
    verdict = check(graph, tmp_path)
    assert verdict.error is not None
    assert verdict.error["type"] == "prompt_outputs_failed_validation"
    assert verdict.node_errors == {}
    assert "2 -> 1 -> 2" in verdict.error["details"]
    with pytest.raises(CycleError):
        order(graph, ["9"], TABLE)


def test_a_long_chain_needs_no_recursion(tmp_path: Path) -> None:
    slow = {"seconds": 0, "steps": 1, "preview": False, "nonce": 1}
    graph = {"0": image()}
    for number in range(1, 5000):
        inputs = {"image": [str(number - 1), 0], **slow}
        graph[str(number)] = {"class_type": "LabSlow", "inputs": inputs}
    graph["out"] = save(["4999", 0])
    verdict = check(graph, tmp_path)
    assert verdict.outputs == ("out",)
    assert order(graph, ["out"], TABLE) == [*map(str, range(5000)), "out"]


def test_values_are_converted_to_the_declared_types(tmp_path: Path) -> None:
    graph = {"1": image(width="64", height=64.9), "9": save(["1", 0], prefix=7)}  # type: ignore[arg-type] # wrong on purpose
    verdict = check(graph, tmp_path)
    assert verdict.graph["1"]["inputs"]["width"] == 64
    assert verdict.graph["1"]["inputs"]["height"] == 64
    assert verdict.graph["9"]["inputs"]["filename_prefix"] == "7"
    assert graph["1"]["inputs"]["width"] == "64", "the caller's graph is left alone"


def test_an_uncheckable_node_further_up_is_reported_there(tmp_path: Path) -> None:
    slow = {"seconds": 0, "steps": 1, "preview": False, "nonce": 1}
    graph = {
        "2": {"class_type": "LabSlow", "inputs": {"image": ["77", 0], **slow}},
        "9": save(["2", 0]),
    }
    verdict = check(graph, tmp_path)
    (error,) = verdict.node_errors["2"]["errors"]
    assert error["type"] == "exception_during_inner_validation"
    assert error["details"] == "'77'"
    assert error["extra_info"]["exception_type"] == "KeyError"
    assert error["extra_info"]["linked_node"] == ["2", 0]


@pytest.mark.parametrize("graph", [None, [1], "x", 5, {"1": 5}, {"1": {"class_type": ["x"]}}])
def test_what_is_no_graph_is_refused(graph: object, tmp_path: Path) -> None:
    error = check(graph, tmp_path).error
    assert error is not None
    assert error["type"] == "invalid_prompt"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_json_gets_a_verdict(value: Any) -> None:
    folders = folders_below(Path("nowhere"))
    graph = {"1": {"class_type": "EmptyImage", "inputs": value}, "9": save(["1", 0])}
    inside = {"1": image(width=value, color=value), "9": save(["1", 0], value)}
    for one in (value, graph, inside, {"9": save(value)}, {"9": value}):
        verdict = validate(one, TABLE, folders)
        assert (verdict.error is None) == bool(verdict.outputs)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["1", 0], Link("1", 0)),
        ([1, 0], None),
        (["1"], None),
        (["1", "0"], None),
        (["1", True], None),
        ("1", None),
    ],
)
def test_a_link_is_an_id_and_a_slot(value: object, expected: Link | None) -> None:
    assert link(value) == expected


def keys(graph: dict[str, Any], stamps: dict[str, str] | None = None) -> dict[str, str]:
    return cache_keys(graph, order(graph, ["9"], TABLE), TABLE, stamps or {})


def test_cache_keys_ignore_ids_and_what_is_not_declared() -> None:
    first = keys({"1": image(), "9": save(["1", 0])})
    other = keys({"a": {**image(), "_meta": {"title": "T"}}, "9": save(["a", 0])})
    extra = keys({"1": image(nonsense=5), "9": save(["1", 0])})
    assert first["9"] == other["9"] == extra["9"]


def test_cache_keys_follow_everything_upstream() -> None:
    base = keys({"1": image(), "9": save(["1", 0])})
    assert keys({"1": image(width=65), "9": save(["1", 0])})["9"] != base["9"]
    assert keys({"1": image(), "9": save(["1", 0], "other")})["1"] == base["1"]
    touched = keys({"1": image(), "9": save(["1", 0])}, {"1": "new file"})
    assert touched["9"] != base["9"]


def test_cache_keys_tell_numbers_from_text() -> None:
    one = keys({"1": image(), "9": save(["1", 0], "1")})
    number = keys({"1": image(), "9": save(["1", 0], 1)})  # type: ignore[arg-type] # wrong on purpose
    assert one["9"] != number["9"]
