import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import workflow
from bridge.errors import WorkflowError
from bridge.request import LoraChoice, Request
from bridge.workflow import Workflow
from configs.settings import WORKFLOWS
from tests import sample_request

REQUEST = replace(sample_request.REQUEST, height=32, steps=4, guidance=2.5, seed=7, unet="u.gguf")


def template() -> Workflow:
    return workflow.load(WORKFLOWS / "txt2img.json")


def built(request: Request) -> Workflow:
    return workflow.build(template(), request, "vulcan/id/img")


def only(graph: Workflow, class_type: str) -> dict[str, Any]:
    (node,) = [node for node in graph.values() if node["class_type"] == class_type]
    return dict(node["inputs"])


def test_every_part_of_a_request_reaches_the_graph() -> None:
    graph = built(REQUEST)
    sampler = only(graph, "KSampler")
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (7, 4, 1.0)
    assert only(graph, "CLIPTextEncode")["text"] == "a fox"
    assert only(graph, "FluxGuidance")["guidance"] == 2.5
    latent = only(graph, "EmptySD3LatentImage")
    assert (latent["width"], latent["height"], latent["batch_size"]) == (64, 32, 1)
    assert only(graph, "UnetLoaderGGUF")["unet_name"] == "u.gguf"
    assert only(graph, "DualCLIPLoaderGGUF")["clip_name2"] == "t.safetensors"
    assert only(graph, "VAELoader")["vae_name"] == "v.safetensors"
    assert only(graph, "SaveImage")["filename_prefix"] == "vulcan/id/img"


def test_building_leaves_the_template_as_it_was() -> None:
    one = template()
    before = json.dumps(one)
    workflow.build(one, replace(REQUEST, loras=(LoraChoice("l", 1.0),)), "x")
    assert json.dumps(one) == before


def test_without_a_lora_the_loader_is_gone_and_the_model_goes_straight_on() -> None:
    graph = built(REQUEST)
    assert "LoraLoaderModelOnly" not in {node["class_type"] for node in graph.values()}
    assert only(graph, "KSampler")["model"] == ["1", 0]


def test_several_loras_stand_in_a_row_in_their_order() -> None:
    graph = built(replace(REQUEST, loras=(LoraChoice("a", 0.5), LoraChoice("b", 0.25))))
    last = graph[only(graph, "KSampler")["model"][0]]["inputs"]
    first = graph[last["model"][0]]["inputs"]
    assert (first["lora_name"], first["strength_model"]) == ("a", 0.5)
    assert (last["lora_name"], last["strength_model"]) == ("b", 0.25)
    assert first["model"] == ["1", 0]


def test_a_template_without_a_lora_node_gets_one_behind_the_unet() -> None:
    bare = template()
    del bare["2"]
    bare["8"]["inputs"]["model"] = ["1", 0]
    graph = workflow.build(bare, replace(REQUEST, loras=(LoraChoice("a", 1.0),)), "x")
    loader = graph[only(graph, "KSampler")["model"][0]]["inputs"]
    assert loader["lora_name"] == "a"
    assert loader["model"] == ["1", 0]


def test_nodes_between_lora_and_sampler_stay_where_they_are() -> None:
    own = template()
    own["20"] = {"class_type": "ModelSamplingFlux", "inputs": {"model": ["2", 0]}}
    own["8"]["inputs"]["model"] = ["20", 0]
    graph = workflow.build(own, replace(REQUEST, loras=(LoraChoice("a", 1.0),)), "x")
    assert only(graph, "KSampler")["model"] == ["20", 0]
    loader = graph[only(graph, "ModelSamplingFlux")["model"][0]]["inputs"]
    assert loader["lora_name"] == "a"


def test_a_negative_prompt_gets_an_encoder_of_its_own() -> None:
    graph = built(replace(REQUEST, negative="blur", cfg=2.0))
    negative = graph[only(graph, "KSampler")["negative"][0]]
    assert negative["class_type"] == "CLIPTextEncode"
    assert negative["inputs"]["text"] == "blur"
    positive = graph[only(graph, "FluxGuidance")["conditioning"][0]]
    assert positive["inputs"]["text"] == "a fox"


def test_node_ids_do_not_matter() -> None:
    renamed = {f"n{node}": value for node, value in template().items()}
    for node in renamed.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                node["inputs"][name] = [f"n{value[0]}", value[1]]
    graph = workflow.build(Workflow(renamed), REQUEST, "x")
    assert only(graph, "CLIPTextEncode")["text"] == "a fox"


@pytest.mark.parametrize("missing", ["1", "4", "7", "8", "11"])
def test_a_template_without_a_needed_part_is_refused_by_name(missing: str) -> None:
    broken = template()
    del broken[missing]
    with pytest.raises(WorkflowError, match="txt2img"):
        workflow.build(broken, REQUEST, "x")


def test_a_circle_of_links_ends_the_walk() -> None:
    circle = template()
    circle["2"]["inputs"]["model"] = ["2", 0]
    with pytest.raises(WorkflowError, match=r"in a circle: 2$"):
        workflow.find_slots(circle)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ('{"nodes": [], "links": []}', r"Export \(API\)"),
        ('{"1": {"inputs": {}}}', "no API-format graph"),
        ("[]", "no API-format graph"),
    ],
)
def test_a_file_that_is_no_workflow_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(WorkflowError, match=says):
        workflow.load(path)


def test_a_request_survives_the_journal() -> None:
    request = replace(REQUEST, prompt="größer “quotes” 🦊", loras=(LoraChoice("a", 0.5),))
    assert Request.from_json(request.to_json()) == request
