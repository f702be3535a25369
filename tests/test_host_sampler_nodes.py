"""The nodes that sample: declared as ComfyUI's, and their parts together what KSampler does."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bridge import workflow
from configs.settings import WORKFLOWS
from host import nodes, sampler_functions, sampler_nodes
from host.engine import Engine
from host.executor import Executor
from host.interrupt import Interrupt
from host.job_queue import Job
from host.node_inputs import wire
from host.node_types import Context, Input, NodeType, Result, object_info
from host.samplers import WALKS
from host.schedules import SCHEDULERS
from host.surroundings import Surroundings
from host.validation import validate
from host.values import Latent, Sigmas
from models.micro import spec
from models.micro.micro_set import MicroSet, lay_out
from tests.comfyui_numbers import declared_nodes
from tests.host_kit import folders_below
from tests.studio import Asked, request

# Combos that hold less here than in ComfyUI, or names of models.
OWN_CHOICES = {"sampler_name", "scheduler", "lora_name"}


@pytest.mark.parametrize("name", declared_nodes())
def test_nodes_are_declared_as_in_comfyui(name: str, tmp_path: Path) -> None:
    expected = declared_nodes()[name]
    found = object_info(nodes.TABLE[name], folders_below(tmp_path))
    for group, inputs in expected["input"].items():
        for key in OWN_CHOICES & set(inputs):
            assert set(found["input"][group][key][0]) <= set(inputs[key][0])
            found["input"][group][key][0] = inputs[key][0]
    assert found == expected


def test_the_table_offers_what_runs() -> None:
    assert set(sampler_nodes.SAMPLERS) == set(WALKS)
    assert set(sampler_nodes.SCHEDULERS) == set(SCHEDULERS)


# --- graphs, run on the micro set ---

Graph = dict[str, Any]
KEPT: dict[str, Latent] = {}


def _keep(context: Context, *, samples: Latent, name: str) -> Result:
    del context
    KEPT[name] = samples
    return Result((), {})


def _masked(context: Context, *, samples: Latent) -> Result:
    del context
    mask = torch.zeros(1, 1, *samples.samples.shape[2:])
    mask[..., mask.shape[-1] // 2 :] = 1
    return Result((Latent(samples.samples, mask, (4,)),))


_NAME = Input("name", "STRING")
KEEP = NodeType("Keep", (wire("samples", "LATENT"), _NAME), (), _keep, always_runs=True)
MASKED = NodeType("Masked", (wire("samples", "LATENT"),), ("LATENT",), _masked)
TABLE = {**nodes.TABLE, "Keep": KEEP, "Masked": MASKED}


class Bench:
    """Runs graphs without a server."""

    def __init__(self, root: Path) -> None:
        self.micro: MicroSet = lay_out(root / "models")
        self.interrupt = Interrupt()
        self.steps: list[tuple[int, int]] = []
        self.folders = folders_below(root)
        self._engine = Engine(root / "models", torch.device("cpu"), torch.float32)
        around = Surroundings(TABLE, self.folders, lambda: self._engine, time.time, lambda: "abcde")
        self.executor = Executor(around, self.interrupt, self._heard)
        self.stop_at = 0

    def _heard(self, message: object, client: str | None) -> None:
        del client
        data = getattr(getattr(message, "progress", message), "data", {})
        if isinstance(data, Mapping) and "value" in data and "max" in data:
            self.steps.append((data["value"], data["max"]))
            if data["value"] == self.stop_at:
                self.interrupt.request("job")

    def run(self, graph: Mapping[str, Any], *outputs: str) -> Graph:
        KEPT.clear()
        self.steps.clear()
        self.interrupt.begin("job")
        job = Job(1, "job", graph, outputs=outputs, client_id="me")
        return self.executor.run(job).entry()

    def latents(self, graph: Graph) -> dict[str, torch.Tensor]:
        """Run a graph; return what its Keep nodes got."""
        keeps = [node for node, entry in graph.items() if entry["class_type"] == "Keep"]
        ended = self.run(graph, *keeps)
        assert ended["status"]["status_str"] == "success", ended
        return {name: latent.samples for name, latent in KEPT.items()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def node(kind: str, **inputs: Any) -> Graph:
    return {"class_type": kind, "inputs": inputs}


def base() -> Graph:
    """Models, prompts and an empty latent."""
    return {
        "unet": node("UNETLoader", unet_name=spec.UNET_FILE, weight_dtype="default"),
        "clips": node(
            "DualCLIPLoader",
            clip_name1=spec.CLIP_FILE,
            clip_name2=spec.T5_FILE,
            type="flux",
        ),
        "good": node("CLIPTextEncode", text="a red circle", clip=["clips", 0]),
        "bad": node("CLIPTextEncode", text="a blue square", clip=["clips", 0]),
        "empty": node("EmptySD3LatentImage", width=32, height=32, batch_size=1),
    }


def ksampler(**other: Any) -> Graph:
    usual = {
        "model": ["unet", 0],
        "seed": 5,
        "steps": 4,
        "cfg": 2.0,
        "sampler_name": "heun",
        "scheduler": "beta",
        "positive": ["good", 0],
        "negative": ["bad", 0],
        "latent_image": ["empty", 0],
        "denoise": 1.0,
    }
    return node("KSampler", **{**usual, **other})


def advanced(start: int, end: int, leftover: str, **other: Any) -> Graph:
    usual = ksampler()["inputs"]
    del usual["seed"], usual["denoise"]
    return node(
        "KSamplerAdvanced",
        **{
            **usual,
            "add_noise": "enable",
            "noise_seed": 5,
            "start_at_step": start,
            "end_at_step": end,
            "return_with_leftover_noise": leftover,
            **other,
        },
    )


def keep(name: str, source: str, slot: int = 0) -> Graph:
    return node("Keep", samples=[source, slot], name=name)


def in_parts(**levels: Any) -> Graph:
    """Nodes of a custom sampling that does what `ksampler` does."""
    return {
        "noise": node("RandomNoise", noise_seed=5),
        "guider": node(
            "CFGGuider", model=["unet", 0], positive=["good", 0], negative=["bad", 0], cfg=2.0
        ),
        "walk": node("KSamplerSelect", sampler_name="heun"),
        "levels": node(
            "BasicScheduler",
            **{"model": ["unet", 0], "scheduler": "beta", "steps": 4, "denoise": 1.0, **levels},
        ),
    }


def guided(**other: Any) -> Graph:
    usual = {
        "noise": ["noise", 0],
        "guider": ["guider", 0],
        "sampler": ["walk", 0],
        "sigmas": ["levels", 0],
        "latent_image": ["empty", 0],
    }
    return node("SamplerCustomAdvanced", **{**usual, **other})


def test_all_nodes_that_sample_agree(bench: Bench) -> None:
    custom = node(
        "SamplerCustom",
        model=["unet", 0],
        add_noise=True,
        noise_seed=5,
        cfg=2.0,
        positive=["good", 0],
        negative=["bad", 0],
        sampler=["walk", 0],
        sigmas=["levels", 0],
        latent_image=["empty", 0],
    )
    graph = {
        **base(),
        **in_parts(),
        "one": ksampler(),
        "two": advanced(0, 10_000, "disable"),
        "three": custom,
        "four": guided(),
        **{f"keep {name}": keep(name, name) for name in ("one", "two", "three", "four")},
        "keep last guess": keep("last guess", "four", 1),
    }
    found = bench.latents(graph)
    for name in ("two", "three", "four"):
        assert torch.equal(found["one"], found[name]), name
    # From the last level down to 0 the walk ends in the guess itself.
    assert torch.allclose(found["last guess"], found["one"], atol=1e-5)


def test_a_walk_in_two_parts_is_the_whole_walk(bench: Bench) -> None:
    euler = {"sampler_name": "euler"}
    second = {**euler, "add_noise": "disable", "latent_image": ["first", 0]}
    graph = {
        **base(),
        **in_parts(),
        "walk": node("KSamplerSelect", sampler_name="euler"),
        "split": node("SplitSigmas", sigmas=["levels", 0], step=2),
        "whole": ksampler(**euler),
        "first": advanced(0, 2, "enable", **euler),
        "second": advanced(2, 10_000, "disable", **second),
        "high": guided(sigmas=["split", 0]),
        "none": node("DisableNoise"),
        "low": guided(sigmas=["split", 1], noise=["none", 0], latent_image=["high", 0]),
        **{f"keep {name}": keep(name, name) for name in ("whole", "second", "low")},
    }
    found = bench.latents(graph)
    assert torch.allclose(found["whole"], found["second"], atol=1e-4)
    assert torch.allclose(found["whole"], found["low"], atol=1e-4)


def test_a_basic_guider_is_a_scale_of_one(bench: Bench) -> None:
    basic = node("BasicGuider", model=["unet", 0], conditioning=["good", 0])
    graph = {
        **base(),
        **in_parts(),
        "guider": basic,
        "one": guided(),
        "two": ksampler(cfg=1.0),
        "k1": keep("one", "one"),
        "k2": keep("two", "two"),
    }
    found = bench.latents(graph)
    assert torch.equal(found["one"], found["two"])


def test_masks_and_places_in_the_batch_go_along(bench: Bench) -> None:
    graph = {**base(), "cut": node("Masked", samples=["empty", 0])}
    graph["one"] = ksampler(latent_image=["cut", 0])
    graph["two"] = ksampler()
    graph |= {"k1": keep("one", "one"), "k2": keep("two", "two")}
    found = bench.latents(graph)
    assert KEPT["one"].batch_index == (4,)
    assert KEPT["one"].noise_mask is not None
    assert not torch.allclose(found["one"], found["two"], atol=1e-2)


def test_a_model_with_levels_of_its_own_walks_through_these(bench: Bench) -> None:
    shift = {"max_shift": 1.15, "base_shift": 0.5, "width": 256, "height": 256}
    graph = {
        **base(),
        "shifted": node("ModelSamplingFlux", model=["unet", 0], **shift),
        "one": ksampler(model=["shifted", 0]),
        "two": ksampler(),
        "k1": keep("one", "one"),
        "k2": keep("two", "two"),
    }
    found = bench.latents(graph)
    assert not torch.allclose(found["one"], found["two"], atol=1e-2)


@pytest.mark.parametrize("sampler", sampler_nodes.SAMPLERS)
def test_every_sampler_reports_each_step_and_stops_in_it(bench: Bench, sampler: str) -> None:
    graph = {**base(), "one": ksampler(sampler_name=sampler, scheduler="simple")}
    graph["k1"] = keep("one", "one")
    bench.latents({**graph, "one": ksampler(sampler_name=sampler, scheduler="simple", seed=6)})
    assert bench.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    bench.stop_at = 2
    try:
        ended = bench.run(graph, "k1")
    finally:
        bench.stop_at = 0
    assert ended["status"]["messages"][-1][0] == "execution_interrupted"
    assert len(bench.steps) == 2


def test_flipped_levels_rise_from_nearly_clean() -> None:
    flipped = sampler_functions.flip_sigmas(None, sigmas=Sigmas((1.0, 0.5, 0.0)))  # type: ignore[arg-type]  # it asks nothing of its context
    expected = torch.tensor([0.0001, 0.5, 1.0]).tolist()
    assert list(flipped.outputs[0].levels) == expected


@pytest.mark.parametrize(
    ("start", "end", "leftover", "expected"),
    [
        (0, 10_000, False, (1.0, 0.75, 0.5, 0.25, 0.0)),
        (1, 3, True, (0.75, 0.5, 0.25)),
        (1, 3, False, (0.75, 0.5, 0.0)),
        (3, 2, False, ()),
        (4, 10_000, False, ()),
        (0, 0, False, ()),
    ],
)
def test_parts_of_a_walk(start: int, end: int, leftover: bool, expected: tuple[float, ...]) -> None:
    levels = Sigmas((1.0, 0.75, 0.5, 0.25, 0.0))
    assert sampler_functions.part_of(levels, start, end, leftover=leftover).levels == expected


# --- LoraLoader ---


def test_a_loras_part_for_text_encoders_is_left_out_and_said_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(bench.micro.lora)
    for half in ("lora_down", "lora_up"):
        key = f"lora_te1_text_model_encoder_layers_0_mlp_fc1.{half}.weight"
        tensors[key] = torch.zeros(4, 4)
    save_file(tensors, bench.micro.lora.with_name("both.safetensors"))

    def with_lora(kind: str, name: str, **more: Any) -> torch.Tensor:
        lora = node(kind, model=["unet", 0], lora_name=name, strength_model=0.8, **more)
        graph = {**base(), "lora": lora, "one": ksampler(model=["lora", 0])}
        return bench.latents({**graph, "k1": keep("one", "one")})["one"]

    alone = with_lora("LoraLoaderModelOnly", spec.LORA_FILE)
    with caplog.at_level(logging.WARNING, "host"):
        silent = {"clip": ["clips", 0], "strength_clip": 0.0}
        assert torch.equal(with_lora("LoraLoader", "both.safetensors", **silent), alone)
        assert "text encoders" not in caplog.text
        loud = {"clip": ["clips", 0], "strength_clip": 1.0}
        assert torch.equal(with_lora("LoraLoader", "both.safetensors", **loud), alone)
        assert "both.safetensors: its 2 tensors for text encoders are left out" in caplog.text


# --- the workflow that takes sampling apart ---


def test_the_custom_sampling_workflow_makes_a_picture(bench: Bench) -> None:
    template = workflow.named(WORKFLOWS, "txt2img_custom_sampler")
    wanted = replace(
        request(Asked("a red circle", 3), "x.gguf", 0.5),
        steps=2,
        sampler="dpmpp_2m",
        scheduler="beta",
        workflow="txt2img_custom_sampler",
    )
    graph = workflow.build(template, wanted, "custom")
    for one in graph.values():
        if one["class_type"] == "UnetLoaderGGUF":  # the shipped micro unet is not quantised
            one |= node("UNETLoader", unet_name=spec.UNET_FILE, weight_dtype="default")
    verdict = validate(graph, TABLE, bench.folders)
    assert verdict.error is None, verdict
    ended = bench.run(verdict.graph, *verdict.outputs)
    assert ended["status"]["status_str"] == "success", ended
    (saved,) = [image for output in ended["outputs"].values() for image in output["images"]]
    assert (bench.folders.output / saved["subfolder"] / saved["filename"]).is_file()
    assert bench.steps[-1] == (2, 2)
