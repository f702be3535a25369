"""The workflows that come with Vulcan: do they fit the hosts that they are for?"""

from dataclasses import replace
from typing import Any

import pytest

from bridge import workflow
from bridge.catalogue import Catalogue
from bridge.check import check
from bridge.errors import WorkflowError
from bridge.graph import Workflow
from bridge.request import LoraChoice
from configs.settings import WORKFLOWS
from host import nodes
from host.node_types import object_info
from tests import comfyui_catalogue, sample_request
from tests.host_kit import folders_below

FILES = {
    "unet_name": ["x.gguf"],
    "lora_name": ["l.safetensors"],
    "clip_name1": ["c.safetensors", "t.safetensors"],
    "clip_name2": ["c.safetensors", "t.safetensors"],
    "vae_name": ["v.safetensors"],
}
ALL = (
    "batch_generation",
    "img2img",
    "img2img_refine",
    "inpaint",
    "lora_comparison",
    "txt2img",
    "txt2img_custom_sampler",
    "upscale_4x",
)
OWN_SIZE = ("inpaint", "upscale_4x")  # the picture's that they start from
REQUEST = replace(
    sample_request.REQUEST,
    loras=(LoraChoice("l.safetensors", 0.5), LoraChoice("l.safetensors", 1.0)),
    sampler="euler",
    scheduler="simple",
    denoise=0.8,
    asked=("width", "height", "steps", "guidance", "seed", "sampler", "scheduler", "denoise"),
)


def embedded(without: str = "") -> Catalogue:
    folders = folders_below(comfyui_catalogue.RECORDED)
    rows = (row for row in nodes.TABLE.values() if row.name != without)
    info: dict[str, Any] = {row.name: object_info(row, folders) for row in rows}
    for node in info.values():
        for name, entry in node["input"]["required"].items():
            if name in FILES:
                entry[0] = FILES[name]
    return Catalogue.read(info)


def built(name: str) -> Workflow:
    asked = tuple(s for s in REQUEST.asked if name not in OWN_SIZE or s not in ("width", "height"))
    request = replace(REQUEST, asked=asked)
    return workflow.build(workflow.named(WORKFLOWS, name), request, "vulcan/id/img")


def test_these_are_all_there_are() -> None:
    assert workflow.names(WORKFLOWS) == ALL


@pytest.mark.parametrize("name", ALL)
def test_each_takes_a_whole_request_and_then_runs_on_comfyui(name: str) -> None:
    assert check(built(name), comfyui_catalogue.catalogue(**FILES)) == ()


@pytest.mark.parametrize("name", ALL)
def test_each_runs_on_the_embedded_host(name: str) -> None:
    assert check(built(name), embedded()) == ()


def test_a_host_without_one_of_its_nodes_is_told_by_that_node() -> None:
    poorer = embedded(without="SamplerCustomAdvanced")
    problems = check(built("txt2img_custom_sampler"), poorer)
    assert {problem.kind for problem in problems} == {"node"}


@pytest.mark.parametrize("name", OWN_SIZE)
def test_a_size_is_refused_where_the_picture_has_its_own(name: str) -> None:
    with pytest.raises(WorkflowError, match="cannot take width"):
        workflow.build(workflow.named(WORKFLOWS, name), REQUEST, "p")


@pytest.mark.parametrize("name", ALL)
def test_a_negative_prompt_is_taken_where_there_is_true_cfg(name: str) -> None:
    request = replace(REQUEST, negative="blur", cfg=2.0, asked=("negative", "cfg"))
    template = workflow.named(WORKFLOWS, name)
    if name == "txt2img_custom_sampler":
        with pytest.raises(WorkflowError, match=r"cannot take cfg.*cannot take negative"):
            workflow.build(template, request, "p")
    else:
        graph = workflow.build(template, request, "p")
        assert check(graph, comfyui_catalogue.catalogue(**FILES)) == ()


def test_a_picture_is_taken_by_the_one_that_starts_from_one() -> None:
    template = workflow.named(WORKFLOWS, "img2img")
    graph = workflow.build(template, replace(REQUEST, asked=("image", "batch")), "p", "in/a.png")
    assert check(graph, comfyui_catalogue.catalogue(**FILES)) == ()
    assert graph["7"]["inputs"]["image"] == "in/a.png"
